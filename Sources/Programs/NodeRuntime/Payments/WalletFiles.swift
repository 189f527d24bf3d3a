public import Base
import CryptoPrimitives
import EventLoop
import Store
import Wire

/// A wallet's files: the account's key and the records of orders and vouchers.
public struct WalletFiles: Sendable {
    /// The account's key.
    let key: Ed25519.SigningKey
    /// Where the key's seed is, for backups.
    let keyPath: String
    /// The records.
    let store: RecordStore

    static func keyPath(_ folder: String) -> String { "\(folder)/account.key" }
    static func recordsPath(_ folder: String) -> String { "\(folder)/wallet.sqlite" }

    /// Opens the wallet in `folder`; the account's key is made where there is none.
    ///
    /// - Parameter account: another file with the account's key, such as a relay's identity; `nil`
    ///   for the folder's own.
    /// - Throws: ``ConfigurationError``, ``StoreError``, ``EntropyError``.
    init(folder: String, account: String?) throws {
        keyPath = account ?? Self.keyPath(folder)
        let isNew = account == nil && StateFolder.stamp(keyPath) == nil
        let seed = isNew ? try KeyFile.create(keyPath) : try KeyFile.read(keyPath)
        key = Ed25519.SigningKey(seed: seed)
        store = try RecordStore(path: Self.recordsPath(folder))
    }

    /// Makes the key of a new account in `folder`, which is made if it is missing; gives its name.
    ///
    /// - Throws: ``ConfigurationError`` where there is one already, ``EntropyError``.
    public static func createAccount(folder: String) throws -> Bytes32 {
        try StateFolder.make(folder)
        return Ed25519.SigningKey(seed: try KeyFile.create(keyPath(folder))).publicKey
    }
}

/// A wallet as one sealed file.
///
/// Layout: `"UMBLWALL" 8 | version u8 = 1 | salt 16 | nonce 24 | sealed`; sealed by
/// XChaCha20-Poly1305 under the passphrase's key, with what stands before it authenticated: `seed 32 |
/// count u32 | count x (table u8 | key length u8 | key | value length u32 | value)`.
public enum WalletArchive {
    private static let magic = Array("UMBLWALL".utf8) + [1]
    private static let associated = Array("umbel/1/wallet".utf8)

    /// A key for a new archive: its salt, and the key the passphrase gives under it.
    ///
    /// - Throws: ``CryptoError``, ``EntropyError``.
    public static func newKey(_ passphrase: [UInt8]) throws -> (salt: [UInt8], key: [UInt8]) {
        let salt = try SystemEntropy.kernel.read(byteCount: PasswordKey.saltByteCount)
        return (salt, try PasswordKey.derive(passphrase, salt: salt))
    }

    /// The file of what a daemon sealed.
    public static func file(salt: [UInt8], sealed: [UInt8]) -> [UInt8] {
        magic + salt + sealed
    }

    /// What a daemon seals: nonce and sealed wallet.
    static func seal(seed: [UInt8], records: [StoredRecord], key: [UInt8]) throws -> [UInt8] {
        var writer = ByteWriter(capacity: 4_096)
        writer.write(seed)
        writer.write(UInt32(clamping: records.count))
        for record in records {
            writer.write(record.table)
            writer.write(UInt8(clamping: record.key.count))
            writer.write(record.key)
            writer.write(UInt32(clamping: record.value.count))
            writer.write(record.value)
        }
        let nonce = try SystemEntropy.kernel.read(byteCount: XChaCha20Poly1305.nonceByteCount)
        return nonce
            + XChaCha20Poly1305.seal(
                writer.bytes,
                key: key,
                nonce: nonce,
                authenticating: associated
            )
    }

    /// Why an archive is not taken.
    public enum Problem: Error, Hashable, Sendable {
        /// The file is none.
        case malformed
        /// The passphrase is another one, or the file was changed.
        case locked
        /// There is a wallet in the folder already.
        case occupied(String)
    }

    /// Puts the wallet of `file` into `folder`, where there must be none; gives the account's name.
    ///
    /// - Throws: ``Problem``, ``ConfigurationError``, `StoreError`, ``CryptoError``.
    public static func restore(
        _ file: [UInt8],
        passphrase: [UInt8],
        into folder: String
    ) throws -> Bytes32 {
        for path in [WalletFiles.keyPath(folder), WalletFiles.recordsPath(folder)]
        where StateFolder.stamp(path) != nil {
            throw Problem.occupied(path)
        }
        let saltEnd = magic.count + PasswordKey.saltByteCount
        let nonceEnd = saltEnd + XChaCha20Poly1305.nonceByteCount
        guard file.count > nonceEnd, Array(file.prefix(magic.count)) == magic else {
            throw Problem.malformed
        }
        let key = try PasswordKey.derive(passphrase, salt: Array(file[magic.count..<saltEnd]))
        guard
            let bytes = XChaCha20Poly1305.open(
                Array(file[nonceEnd...]),
                key: key,
                nonce: Array(file[saltEnd..<nonceEnd]),
                authenticating: associated
            )
        else { throw Problem.locked }
        var reader = ByteReader(bytes)
        let seed = try reader.read(byteCount: 32)
        var writes: [RecordWrite] = []
        for _ in 0..<(try reader.read(UInt32.self)) {
            let table = try reader.read(UInt8.self)
            let keyLength = Int(try reader.read(UInt8.self))
            let name = try reader.read(byteCount: keyLength)
            let valueLength = Int(try reader.read(UInt32.self))
            let value = try reader.read(byteCount: valueLength)
            writes.append(RecordWrite(table: table, key: name, value: value))
        }
        try StateFolder.make(folder)
        let store = try RecordStore(path: WalletFiles.recordsPath(folder))
        try store.apply(writes)
        try store.close()
        try KeyFile.write(seed, to: WalletFiles.keyPath(folder))
        return Ed25519.SigningKey(seed: Secret(copying: seed)).publicKey
    }
}

extension WalletArchive.Problem: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .malformed: "the file is no backup of a wallet"
        case .locked: "the passphrase is another one, or the file was changed"
        case .occupied(let path): "\(path) is there already, and is not overwritten"
        }
    }
}
