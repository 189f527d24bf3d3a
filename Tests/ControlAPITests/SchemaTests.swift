import ControlAPI
import Foundation
import Testing

@Suite("The JSON of schema 1 never changes")
struct SchemaTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private let id = String(repeating: "ab", count: 32)
    private let first = String(repeating: "01", count: 32)

    @Test("Status")
    func status() throws {
        #expect(
            try json(FixedClient.report) == """
                {"bytes_received":34,"bytes_sent":12,"exit":{"country":"DE","id":"\(id)",\
                "nickname":"rose"},"schema":1,"since":1790000000,"state":"connected",\
                "tunnels":[{"id":7,"interface":"umbel0","pid":99}]}
                """
        )
        let connecting = StatusReport(
            state: .connecting,
            reason: "no consensus yet",
            progress: .init(percent: 45, stage: "directory", detail: "fetching"),
            since: 1
        )
        #expect(
            try json(connecting) == """
                {"bytes_received":0,"bytes_sent":0,"progress":{"detail":"fetching","percent":45,\
                "stage":"directory"},"reason":"no consensus yet","schema":1,"since":1,\
                "state":"connecting","tunnels":[]}
                """
        )
        let relays = StatusReport(
            state: .connected,
            since: 1,
            relays: .init(
                sameDirectory: 1,
                olderDirectory: 2,
                newerDirectory: 3,
                conflictingDirectory: 4,
                noDirectory: 5,
                clockOffsetMinutes: -6
            )
        )
        #expect(
            try json(relays) == """
                {"bytes_received":0,"bytes_sent":0,"relays":{"clock_offset_min":-6,\
                "directory_conflicting":4,"directory_newer":3,"directory_none":5,\
                "directory_older":2,"directory_same":1},"schema":1,"since":1,\
                "state":"connected","tunnels":[]}
                """
        )
        #expect(
            TunnelState.allCases.map(\.rawValue) == [
                "disconnected", "connecting", "connected", "disconnecting", "blocked",
            ]
        )
    }

    @Test("Circuits")
    func circuits() throws {
        #expect(
            try json(FixedClient.circuits) == """
                {"circuits":[{"age_s":60,"build_ms":2.5,"bytes_backward":4,"bytes_forward":3,\
                "cells_backward":2,"cells_forward":1,"hops":[{"address":"192.0.2.11:4433",\
                "country":"CH","id":"\(first)","nickname":"iris","position":1,"rtt_ms":12.5}],\
                "id":3,"isolation":"machine","state":"active","tunnel":7}],"schema":1}
                """
        )
    }

    @Test("Ping")
    func ping() throws {
        let report = PingReport(hops: [
            .init(position: 1, nickname: "iris", sent: 4, roundTrips: [1.5, 2.5]),
            .init(position: 2, nickname: "rose", sent: 3, roundTrips: []),
        ])
        #expect(
            try json(report) == """
                {"hops":[{"avg_ms":2,"loss":0.5,"max_ms":2.5,"min_ms":1.5,"nickname":"iris",\
                "p99_ms":2.5,"position":1,"received":2,"sent":4},{"loss":1,"nickname":"rose",\
                "position":2,"received":0,"sent":3}],\
                "schema":1}
                """
        )
        #expect(try json(PingRequest(hop: 2, count: 3)) == #"{"count":3,"hop":2}"#)
    }

    @Test("Relay, node, tunnels and failures")
    func others() throws {
        #expect(
            try json(FixedRelay.report) == """
                {"cells_backward":5,"cells_forward":4,"circuits":3,"drops":{"auth":1,"queue":0},\
                "identity":"\(first)","links":2,"nickname":"iris","schema":1,"uptime_s":5}
                """
        )
        #expect(
            try json(NodeReport(role: .relay, version: "0.1", pid: 9))
                == #"{"pid":9,"role":"relay","schema":1,"version":"0.1"}"#
        )
        #expect(
            try json(FixedClient.grant) == """
                {"id":7,"interface":"umbel0","ipv4":"10.111.0.2","ipv6":"fd75:6d62:656c::2",\
                "mtu":1280,"resolvers":["10.111.0.1","fd75:6d62:656c::1"],"schema":1}
                """
        )
        #expect(try json(TunnelRequest(pid: 5, exit: ["DE"])) == #"{"exit":["DE"],"pid":5}"#)
        #expect(try json(UpRequest()) == "{}")
        #expect(
            try json(Failure("a", why: "b", hint: "c", exit: .temporary))
                == #"{"exit_code":75,"hint":"c","what":"a","why":"b"}"#
        )
    }
}
