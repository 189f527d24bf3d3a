import Base
import Testing
import Wire

@Suite("Layouts of what clients and hops say of pay")
struct PayMessageTests {
    private static func bytes(_ count: Int, _ first: UInt8) -> [UInt8] {
        (0..<count).map { first &+ UInt8(truncatingIfNeeded: $0) }
    }

    private static let place = ChainPlace(index: 5, value: Bytes32(bytes(32, 9)) ?? .zero)

    private static let voucher = VoucherProof(
        epoch: 3,
        denomination: .trial,
        setVersion: 1,
        root: Bytes32(bytes(32, 1)) ?? .zero,
        reclaimCommitment: Bytes32(bytes(32, 2)) ?? .zero,
        signatures: (0..<3).map { bytes(256, $0) }
    )

    /// What a client says, or a hop answers, and its length.
    private static let messages: [(message: ControlMessage, isFromClient: Bool, byteCount: Int)] = [
        (.payOpen(PayOpen(voucher: voucher, place: place)), true, 873),
        (.payTick(place), true, 36),
        (.payAttach(PayAttach(voucher: Bytes32(bytes(32, 4)) ?? .zero, place: place)), true, 68),
        (.reportAsk, true, 0),
        (
            .payPass(
                PayPass(
                    authority: 2,
                    minute: 77,
                    nonce: bytes(16, 1),
                    signature: bytes(64, 3)
                )
            ), true, 85
        ),
        (.payResult(PayResult(status: .seen, paidTicks: 9)), false, 5),
        (
            .report(
                HopReport(
                    paidTicks: 1,
                    forwardIn: 2,
                    forwardOut: 3,
                    backwardIn: 4,
                    backwardOut: 5,
                    queueDrops: 6,
                    queueDelay: 7
                )
            ), false, 24
        ),
    ]

    @Test("each is read as it was written, and no shorter or longer one is", arguments: 0..<7)
    func layouts(index: Int) throws {
        let (message, isFromClient, byteCount) = Self.messages[index]
        let bytes = message.encoded
        #expect(bytes.count == byteCount)
        func parse(_ bytes: [UInt8]) throws(WireError) -> ControlMessage {
            try ControlMessage(type: message.type, parsing: bytes, fromClient: isFromClient)
        }
        #expect(try parse(bytes) == message)
        for length in 0..<bytes.count {
            let front = Array(bytes.prefix(length))
            // A voucher may have fewer signatures: another one, which its hop refuses.
            if case .payOpen = message, [361, 617].contains(length) {
                #expect(try parse(front) != message)
            } else {
                #expect(throws: WireError.self, "\(length)") { try parse(front) }
            }
        }
        #expect(throws: WireError.self) { try parse(bytes + [0]) }
    }

    @Test("a status nobody knows is named")
    func unknownStatus() {
        #expect(throws: WireError.unknown(field: "pay status", value: 7)) {
            try ControlMessage(type: 3, parsing: [7, 0, 0, 0, 0], fromClient: false)
        }
    }
}
