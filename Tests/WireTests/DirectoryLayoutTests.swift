import Base
import Testing
import Wire

@Suite("Layouts of votes and what authorities send each other")
struct DirectoryLayoutTests {
    private func bytes32(_ value: UInt8) -> Bytes32 {
        Bytes32([UInt8](repeating: value, count: 32)) ?? .zero
    }

    private var vote: DirectoryVote {
        DirectoryVote(
            network: NetworkID(bytes32(1)),
            validAfter: WallTime(seconds: 1_800_000_000),
            author: 2,
            parameters: .lab,
            log: [1, 2, 3],
            entries: [
                DirectoryVote.Entry(
                    id: NodeID(bytes32(3)),
                    descriptor: bytes32(4),
                    publishedMinute: 30_000_000,
                    flags: [.exit, .exitsIPv6],
                    country: CountryCode("DE"),
                    autonomousSystem: 64_500,
                    measuredKilobits: 77
                ),
                DirectoryVote.Entry(
                    id: NodeID(bytes32(5)),
                    descriptor: bytes32(6),
                    publishedMinute: 1,
                    flags: .guardCapable
                ),
            ]
        )
    }

    @Test("a vote is read as it was written, and no shorter or longer one is")
    func votes() throws {
        let bytes = try vote.encoded()
        #expect(try DirectoryVote(parsing: bytes) == vote)
        for length in 0..<bytes.count {
            #expect(throws: WireError.self) {
                try DirectoryVote(parsing: Array(bytes.prefix(length)))
            }
        }
        // What is behind the entries is a section of mints, which is not there without one.
        #expect(throws: WireError.invalid(field: "mint count")) {
            try DirectoryVote(parsing: bytes + [0])
        }
    }

    @Test("a vote that claims a hundred thousand entries is refused before memory is set aside")
    func claims() throws {
        var bytes = try vote.encoded()
        let countStart = bytes.count - 2 * 80 - 4
        bytes.replaceSubrange(countStart..<countStart + 4, with: [0, 1, 0x86, 0xa0])
        #expect(throws: WireError.self) { try DirectoryVote(parsing: bytes) }
        bytes.replaceSubrange(countStart..<countStart + 4, with: [0xff, 0xff, 0xff, 0xff])
        #expect(
            throws: WireError.tooLarge(
                field: "entry count",
                value: UInt64(UInt32.max),
                limit: 100_000
            )
        ) { try DirectoryVote(parsing: bytes) }
    }

    @Test("entries out of order or twice are refused by writer and reader")
    func order() throws {
        var twice = vote
        twice.entries.append(twice.entries[1])
        #expect(throws: WireError.invalid(field: "entry order")) { try twice.encoded() }
        var bytes = try vote.encoded()
        let second = bytes.count - 80
        bytes.replaceSubrange(second..<second + 32, with: bytes[second - 80..<second - 48])
        #expect(throws: WireError.invalid(field: "entry order")) {
            try DirectoryVote(parsing: bytes)
        }
    }

    @Test("notices of signatures and lists are read as they were written, and bounded")
    func notices() throws {
        let signature = try ConsensusSignature(index: 3, bytes: [UInt8](repeating: 9, count: 64))
        let notice = SignatureNotice(
            network: NetworkID(bytes32(1)),
            validAfter: WallTime(seconds: 1_800_000_000),
            digest: bytes32(2),
            signatures: [signature]
        )
        let bytes = notice.encoded()
        #expect(try SignatureNotice(parsing: bytes) == notice)
        for length in 0..<bytes.count {
            #expect(throws: WireError.self) {
                try SignatureNotice(parsing: Array(bytes.prefix(length)))
            }
        }
        let list: [[UInt8]] = [[], [1], [2, 3]]
        #expect(try ByteList.parse(ByteList.encode(list), limit: 2) == list)
        #expect(throws: WireError.tooLarge(field: "list item", value: 2, limit: 1)) {
            try ByteList.parse(ByteList.encode(list), limit: 1)
        }
        #expect(throws: WireError.tooLarge(field: "list", value: 0xffff, limit: 512)) {
            try ByteList.parse([0xff, 0xff], limit: 1)
        }
    }

    @Test("questions and parts over circuits are read as they were written, and bounded")
    func parts() throws {
        let ask = ControlMessage.directoryAsk(
            DirectoryAsk(kind: .diff, digest: bytes32(7), offset: 4_000)
        )
        #expect(try ControlMessage(type: 11, parsing: ask.encoded, fromClient: true) == ask)
        let part = DirectoryPart(status: .bytes, tag: 1, total: 9, offset: 2, bytes: [5, 6])
        let answer = ControlMessage.directoryPart(part)
        #expect(try ControlMessage(type: 11, parsing: answer.encoded, fromClient: false) == answer)
        var long = part
        long.bytes = [UInt8](repeating: 0, count: DirectoryPart.maximumByteCount + 1)
        #expect(
            throws: WireError.tooLarge(field: "directory part", value: 4_001, limit: 4_000)
        ) {
            try ControlMessage(
                type: 11,
                parsing: ControlMessage.directoryPart(long).encoded,
                fromClient: false
            )
        }
    }
}
