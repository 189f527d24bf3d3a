import Base
public import CryptoPrimitives
import EventLoop
import NodeConfiguration
import Wire

/// A circuit key and how long it is used.
public struct CircuitKey: Sendable {
    /// The key.
    public let key: XWing.PrivateKey
    /// The minute since 1970 from which it is no longer used.
    public let expiryMinute: UInt32
}

/// A relay's circuit keys: a new one each period at an hour drawn from its identity, the one before
/// kept for another period.
///
/// A period has 24 hours unless the network says otherwise; its hours are a 24th of it. Each key
/// lies in a file of its own, `circuit-BEGIN-END.key`, by minutes. Spec: §E.8.
struct CircuitKeyRing: Sendable {
    private struct Entry: Sendable {
        var key: XWing.PrivateKey
        var beginMinute: UInt32
        var endMinute: UInt32
        var path: String
    }

    private let folder: String
    private let identity: Bytes32
    private let entropy: SystemEntropy
    private var entries: [Entry] = []

    /// Reads the keys in `folder`.
    ///
    /// - Throws: ``ConfigurationError`` where a key's file is not fit to be one.
    init(
        folder: String,
        identity: Bytes32,
        entropy: SystemEntropy = .kernel
    ) throws(ConfigurationError) {
        self.folder = folder
        self.identity = identity
        self.entropy = entropy
        for name in StateFolder.names(in: folder) {
            guard let (begin, end) = Self.minutes(of: name) else { continue }
            let path = "\(folder)/\(name)"
            guard let key = try? XWing.PrivateKey(seed: try KeyFile.read(path)) else {
                throw KeyFile.problem(path, why: "it holds no X-Wing key")
            }
            entries.append(Entry(key: key, beginMinute: begin, endMinute: end, path: path))
        }
        entries.sort { $0.beginMinute > $1.beginMinute }
    }

    /// The keys, the newest first.
    var keys: [XWing.PrivateKey] {
        entries.map(\.key)
    }

    /// The key to announce.
    var newest: CircuitKey? {
        entries.first.map { CircuitKey(key: $0.key, expiryMinute: $0.endMinute) }
    }

    /// Draws a new key if one is due at `minute`, and destroys those that are over.
    ///
    /// - Parameter periodSeconds: from one key to the next.
    /// - Returns: whether the keys changed.
    /// - Throws: ``ConfigurationError`` where a key cannot be written, ``IOError`` where the system
    ///   gives no randomness.
    mutating func turn(at minute: UInt32, periodSeconds: UInt32) throws -> Bool {
        var isChanged = false
        let period = max(2, periodSeconds / 60)
        let start = Self.start(of: identity, at: minute, periodMinutes: period)
        // A clock that was ahead once must not keep a key for ever.
        let latest = minute + 1
        for entry in entries where entry.endMinute <= minute || entry.beginMinute > latest {
            StateFolder.remove(entry.path)
            isChanged = true
        }
        entries.removeAll { $0.endMinute <= minute || $0.beginMinute > latest }
        guard entries.first.map({ $0.beginMinute < start }) ?? true else { return isChanged }
        try add(from: minute, to: start + 2 * period)
        return true
    }

    /// Draws a new key at `minute`, though none is due; the others stay as long as they would have.
    ///
    /// - Returns: false where one was drawn in this very minute.
    /// - Throws: as ``turn(at:periodSeconds:)``.
    mutating func turnNow(at minute: UInt32, periodSeconds: UInt32) throws -> Bool {
        guard entries.first.map({ $0.beginMinute < minute }) ?? true else { return false }
        let period = max(2, periodSeconds / 60)
        let start = Self.start(of: identity, at: minute, periodMinutes: period)
        try add(from: minute, to: start + 2 * period)
        return true
    }

    private mutating func add(from minute: UInt32, to end: UInt32) throws {
        let path = "\(folder)/circuit-\(minute)-\(end).key"
        let key = try XWing.PrivateKey(seed: try KeyFile.create(path, entropy: entropy))
        entries.insert(Entry(key: key, beginMinute: minute, endMinute: end, path: path), at: 0)
    }

    /// The minute in which the period that runs at `minute` began.
    static func start(of identity: Bytes32, at minute: UInt32, periodMinutes: UInt32) -> UInt32 {
        let hour = identity.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } % 24
        let offset = UInt32(hour) * periodMinutes / 24
        let shifted = minute + periodMinutes - offset
        return shifted / periodMinutes * periodMinutes + offset - periodMinutes
    }

    private static func minutes(of name: String) -> (begin: UInt32, end: UInt32)? {
        guard name.hasPrefix("circuit-"), name.hasSuffix(".key") else { return nil }
        let parts = name.dropFirst("circuit-".count).dropLast(".key".count).split(separator: "-")
        guard parts.count == 2, let begin = UInt32(parts[0]), let end = UInt32(parts[1]) else {
            return nil
        }
        return (begin, end)
    }
}
