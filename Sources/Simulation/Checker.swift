public import Base
import Wire

/// What must hold in every world at every instant; what did not is written down.
public final class Checker {
    /// A rule that was broken, and when.
    public struct Violation: Sendable, CustomStringConvertible {
        /// When.
        public let time: Instant
        /// What.
        public let text: String

        /// Time and rule.
        public var description: String {
            "\(TimeSpan(nanoseconds: time.nanoseconds).seconds) s: \(text)"
        }
    }

    /// Violations kept at most.
    public static let limit = 100
    /// What was broken, the first ``limit`` of it.
    public private(set) var violations: [Violation] = []
    private unowned let world: World
    private var lastSequences: [UInt64: UInt32] = [:]
    /// Numbers of the packets that were delivered, by flow and way.
    private var delivered: [UInt64: NumberSet] = [:]

    init(world: World) {
        self.world = world
    }

    func note(_ text: String) {
        guard violations.count < Self.limit else { return }
        violations.append(Violation(time: world.now, text: text))
    }

    /// Looks at a datagram a node sends.
    func inspect(_ bytes: [UInt8], from node: Int, to target: Int?) {
        guard bytes.count == Datagram.byteCount else {
            return note("node \(node) sent a datagram of \(bytes.count) bytes")
        }
        if Self.showsCanary(bytes) { note("node \(node) sent plaintext") }
        guard let target else { return }
        let session = bytes[0..<4].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard session != 0 else { return }
        let sequence = bytes[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let key = UInt64(target) << 32 | session
        if let last = lastSequences[key], last >= sequence {
            note("node \(node) used packet number \(sequence) after \(last) in one session")
        }
        lastSequences[key] = sequence
    }

    /// Whether a packet came for the first time.
    func isFirst(flow: UInt32, number: UInt32, isAnswer: Bool) -> Bool {
        delivered[UInt64(flow) << 1 | (isAnswer ? 1 : 0), default: NumberSet()].insert(number)
    }

    /// Nothing of this flow comes any more.
    func forget(flow: UInt32) {
        delivered[UInt64(flow) << 1] = nil
        delivered[UInt64(flow) << 1 | 1] = nil
    }

    static func showsCanary(_ bytes: [UInt8]) -> Bool {
        unsafe bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset + 8 <= buffer.count {
                let word = unsafe buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                if word == 0xc7c7_c7c7_c7c7_c7c7 { return true }
                offset += 8
            }
            return false
        }
    }
}
