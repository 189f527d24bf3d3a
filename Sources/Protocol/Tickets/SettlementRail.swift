public import Base
public import Wire

/// How credits come into the mints' ledger and go out of it.
///
/// Both methods are told apart from repetitions by a key: the same key changes the ledger once,
/// however often it is asked, and gives the same receipt. Spec: §A.10.
public protocol SettlementRail {
    /// Puts `amount` on `account`.
    mutating func deposit(
        _ amount: Credits,
        to account: Bytes32,
        key: Bytes32
    ) throws(SettlementError) -> SettlementReceipt
    /// Takes `amount` from `account` for good, to be paid out elsewhere.
    mutating func redeem(
        _ amount: Credits,
        from account: Bytes32,
        key: Bytes32
    ) throws(SettlementError) -> SettlementReceipt
}

/// What a rail did: the bytes are what the mints take, signed.
public struct SettlementReceipt: Hashable, Sendable {
    /// The key it was asked under.
    public let key: Bytes32
    /// A grant, or an order of transfer.
    public let bytes: [UInt8]

    /// Takes both over.
    public init(key: Bytes32, bytes: [UInt8]) {
        self.key = key
        self.bytes = bytes
    }
}

/// Why a rail did nothing.
public enum SettlementError: Error, Hashable, Sendable {
    /// The key was used for something else.
    case keyTaken
    /// It does not hold the account's key.
    case notOwner
}
