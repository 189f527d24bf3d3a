public import Base

/// What an exit says it will carry: a policy known by number, or rules of its own.
///
/// Layout: `id u8`, and for 255 `count u8 | rules`. Says where a client may try; what really
/// leaves is decided by the exit itself, on the address it uses (§E.2, §E.8).
public enum DescribedPolicy: Hashable, Sendable {
    /// No exit.
    case none
    /// Every public address and every port but 25 (mail).
    case standard
    /// Every public address, ports 80 and 443.
    case web
    /// Rules in order, the first match decides, no match refuses; 1 to 32 of them.
    case rules([PolicyRule])

    /// Rules a policy may have at most.
    public static let maximumRuleCount = 32

    /// Whether the exit may accept `port` towards some address.
    ///
    /// A rule that accepts counts however narrow its network is; one that rejects only when it
    /// covers every address, for the address is not known yet.
    public func mayAccept(port: UInt16, transport: PolicyTransport) -> Bool {
        switch self {
        case .none: return false
        case .standard: return port != 25
        case .web: return port == 80 || port == 443
        case .rules(let rules):
            for rule in rules where rule.matches(port: port, transport: transport) {
                if rule.accepts { return true }
                if rule.network.prefixBitCount == 0 { return false }
            }
            return false
        }
    }

    func validate() throws(WireError) {
        guard case .rules(let rules) = self else { return }
        guard !rules.isEmpty else { throw .invalid(field: "policy rules") }
        guard rules.count <= Self.maximumRuleCount else {
            throw .tooLarge(
                field: "policy rules",
                value: UInt64(rules.count),
                limit: UInt64(Self.maximumRuleCount)
            )
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let id = try reader.read(UInt8.self)
        switch id {
        case 0: self = .none
        case 1: self = .standard
        case 2: self = .web
        case Self.rulesID:
            let count = Int(try reader.read(UInt8.self))
            guard count <= Self.maximumRuleCount else {
                throw .tooLarge(
                    field: "policy rules",
                    value: UInt64(count),
                    limit: UInt64(Self.maximumRuleCount)
                )
            }
            var rules: [PolicyRule] = []
            for _ in 0..<count { rules.append(try PolicyRule(from: &reader)) }
            self = .rules(rules)
            try validate()
        default: throw .unknown(field: "exit policy", value: UInt64(id))
        }
    }

    func write(to writer: inout ByteWriter) {
        switch self {
        case .none: writer.write(UInt8(0))
        case .standard: writer.write(UInt8(1))
        case .web: writer.write(UInt8(2))
        case .rules(let rules):
            writer.write(Self.rulesID)
            writer.write(UInt8(truncatingIfNeeded: rules.count))
            for rule in rules { rule.write(to: &writer) }
        }
    }

    private static let rulesID: UInt8 = 255
    static let minimumByteCount = 1
    static let maximumByteCount = 2 + maximumRuleCount * PolicyRule.byteCount
}

/// The transport protocol a rule is about.
public enum PolicyTransport: UInt8, Hashable, Sendable {
    /// TCP.
    case tcp = 6
    /// UDP.
    case udp = 17
}

/// One rule of an exit's own policy.
///
/// Layout, 23 bytes: `verb u8 (0 reject, 1 accept) | transport u8 (0 any, 6, 17) | network 16 |
/// prefix u8 of 128 | first port u16 | last port u16`.
public struct PolicyRule: Hashable, Sendable {
    /// Whether a match is carried.
    public let accepts: Bool
    /// The transport it is about; `nil` for every one.
    public let transport: PolicyTransport?
    /// The addresses it is about.
    public let network: IPNetwork
    /// The ports it is about.
    public let ports: ClosedRange<UInt16>

    /// Makes a rule.
    public init(
        accepts: Bool,
        transport: PolicyTransport?,
        network: IPNetwork,
        ports: ClosedRange<UInt16>
    ) {
        self.accepts = accepts
        self.transport = transport
        self.network = network
        self.ports = ports
    }

    func matches(port: UInt16, transport: PolicyTransport) -> Bool {
        ports.contains(port) && (self.transport ?? transport) == transport
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let verb = try reader.read(UInt8.self)
        guard verb <= 1 else { throw .unknown(field: "policy verb", value: UInt64(verb)) }
        let number = try reader.read(UInt8.self)
        let transport = PolicyTransport(rawValue: number)
        guard number == 0 || transport != nil else {
            throw .unknown(field: "policy transport", value: UInt64(number))
        }
        let high = try reader.read(UInt64.self)
        let address = IPAddress(high: high, low: try reader.read())
        let prefix = Int(try reader.read(UInt8.self))
        guard prefix <= 128 else { throw .invalid(field: "policy prefix") }
        let network = IPNetwork(address, prefixBitCount: prefix)
        guard network.base == address else { throw .invalid(field: "policy network") }
        let first = try reader.read(UInt16.self)
        let last = try reader.read(UInt16.self)
        guard first <= last else { throw .invalid(field: "policy ports") }
        self.init(accepts: verb == 1, transport: transport, network: network, ports: first...last)
    }

    func write(to writer: inout ByteWriter) {
        writer.write(UInt8(accepts ? 1 : 0))
        writer.write(transport?.rawValue ?? 0)
        writer.write(network.base.high)
        writer.write(network.base.low)
        writer.write(UInt8(truncatingIfNeeded: network.prefixBitCount))
        writer.write(ports.lowerBound)
        writer.write(ports.upperBound)
    }

    static let byteCount = 23
}
