import Base
import Foundation
import HostNetwork
import Testing

extension Lab {
    /// The usual network with relays of `count` packet threads.
    fileprivate static func topology(ofShards count: Int) -> String {
        topology.replacing("role: relay, country", with: "role: relay, shards: \(count), country")
            .replacing("role: relay\n", with: "role: relay\n    shards: \(count)\n")
    }
}

extension EndToEnd {
    /// Relays with several packet threads: as many links to each neighbour, one lease pool.
    @Suite("Relays of four shards", .lab(Lab.topology(ofShards: 4)))
    struct Shards {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private static let server = SocketAddress(ip: IPAddress(v4: 0xcb00_710a), port: 7000)

        @Test("six megabytes arrive byte for byte by eight tunnels at once")
        func transfers() async throws {
            try await lab.connect()
            let original = "\(lab.folder("inet"))/www/large"
            try await lab.run("inet", "dd if=/dev/urandom of=\(original) bs=1M count=6 status=none")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<8 {
                    let copy = "\(lab.scratch)/large\(number)"
                    let curl = "curl -sS --max-time 60 -o \(copy) http://www.umbel.test/large"
                    // Each program has circuits of its own.
                    let run = [Lab.umbel, "run", "--socket", lab.socket("client"), "--"]
                    group.addTask {
                        let outcome = try await lab.outcome(
                            "client",
                            run + curl.split(separator: " ").map(String.init),
                            seconds: 90
                        )
                        #expect(outcome.status == 0, "\(outcome.message)")
                        #expect(FileManager.default.contentsEqual(atPath: original, andPath: copy))
                    }
                }
                try await group.waitForAll()
            }
        }

        @Test("row 26: a lease moves to a circuit of another shard, and its connections go on")
        func takeover() async throws {
            try await lab.connect()
            let stream = try SteadyStream(lab, from: "inet", Self.server, to: "client")
            for _ in 0..<2 {
                let middle = try await lab.path()[1]
                try await lab.without(middle, "KILL") {
                    let before = stream.progress.byteCount
                    try await eventually("the stream goes on") {
                        let progress = stream.progress
                        try #require(progress.end == nil)
                        return progress.byteCount >= before + 4 << 20
                    }
                    #expect(try await !lab.path().contains(middle))
                }
            }
            #expect(stream.progress.isExact)
        }

        @Test("row 72: a second relay does not share the first one's port")
        func secondRelay() async throws {
            // All but the port is its own, for a folder or a socket is refused before.
            let second = try await lab.configuration(like: "r1")
            let outcome = try await lab.outcome(
                "r1",
                [Lab.umbel, "relay", "--config", second.file]
            )
            #expect(outcome.status != 0)
            #expect(outcome.message.contains("4433"), "\(outcome.message)")
        }
    }
}
