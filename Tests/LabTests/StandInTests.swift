import Base
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

/// The lab drives `umbel` by its command line alone: a script with the same commands shows that
/// what it is called with, what files it finds and what its failures become.
@Suite("How the lab drives umbel", .enabled(if: obstacle == nil, needs), .serialized)
struct StandInTests {
    /// Three relays, one of them an exit, and a client.
    static let topology = """
        subnets:
          law: [192.0.2.0/24]
          home: [198.51.100.0/24]
          n1: [198.18.1.0/24, 2001:db8:101::/48]
          n2: [198.18.2.0/24]
          n3: [198.18.3.0/24]
        parameters:
          path: {ipv4_subnet: 24}
        hosts:
          - {name: a1, role: authority, addresses: [192.0.2.11]}
          - {name: a2, role: authority, addresses: [192.0.2.12]}
          - {name: r1, role: relay, country: CH, addresses: [198.18.1.10, "2001:db8:101::10"]}
          - {name: r2, role: relay, country: FR, addresses: [198.18.2.10]}
          - name: r3
            role: relay
            country: DE
            addresses: [198.18.3.10]
            exit: {allow: [203.0.113.0/24], ipv4_pool: 100.64.0.0/16, ipv6: false}
          - {name: client, role: client, addresses: [198.51.100.10]}

        """

    /// Notes every call, makes the files the next call needs, and answers on control sockets.
    ///
    /// A file named FAIL beside it makes the command written there fail.
    private static let script = """
        #!/bin/sh
        here=$(dirname "$0")
        echo "$*" >> "$here/calls"
        if [ -e "$here/FAIL" ] && echo "$*" | grep -q -- "$(cat "$here/FAIL")"; then
            echo "the stand-in was told to fail" >&2
            exit 1
        fi
        case "$1 $2" in
        "authority keygen") echo key > "$4"; printf '{"schema":1,"public_key":"%064d"}\\n' 7 ;;
        "keygen --role")
            mkdir -p "$5"; echo key > "$5/relay.key"
            printf '{"schema":1,"identity":"%064d"}\\n' 8 ;;
        "account new") printf '{"schema":1,"account":"%064d"}\\n' 9 ;;
        "authority run"|"relay --config"|"daemon --config")
            [ "$2" = run ] && shift
            socket=$(sed -n 's/^socket = "\\(.*\\)"$/\\1/p' "$3")
            printf 'read line; printf "HTTP/1.1 200 OK\\\\r\\\\n\\\\r\\\\n{}"\\n' > "$here/answer"
            exec socat "UNIX-LISTEN:$socket,fork" "EXEC:sh $here/answer" ;;
        "up --wait") ip -brief address show eth0 > "$here/where" ;;
        *) echo "no such command: $*" >&2; exit 64 ;;
        esac

        """

    private func withStandIn(
        _ body: (LabFixture) async throws -> Void
    ) async throws {
        try await LabFixture.with(Self.topology) { lab in
            let path = "\(lab.folder)/umbel"
            try Data(Self.script.utf8).write(to: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            var lab = lab
            lab.environment = ["UMBEL=\(path)"]
            try await body(lab)
        }
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOfFile: path, encoding: .utf8)
    }

    @Test("keys come before daemons, authorities before relays, and the client last")
    func order() async throws {
        try await withStandIn { lab in
            try await lab.up()
            let calls = try text("\(lab.folder)/calls").split(separator: "\n")
            let kinds = calls.map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
            #expect(
                kinds == [
                    "authority keygen", "authority keygen", "keygen --role", "keygen --role",
                    "keygen --role", "account new", "authority run", "authority run",
                    "relay --config",
                    "relay --config", "relay --config", "daemon --config", "up --wait",
                ]
            )
            // `up` ran inside the client's namespace.
            #expect(try text("\(lab.folder)/where").contains("198.51.100.10/24"))
            for host in ["a1", "a2", "r1", "r2", "r3", "client"] {
                #expect(try await lab.state(of: host) == "running")
            }
            let names = try await lab.exec("client", "cat /etc/resolv.conf")
            #expect(names.output.contains("nameserver 10.111.0.1\n"))
            #expect(names.output.contains("nameserver fd75:6d62:656c::1\n"))
        }
    }

    @Test("the files daemons read say what the topology says")
    func files() async throws {
        try await withStandIn { lab in
            try await lab.up()
            let folder = "/run/umbel-lab/\(lab.name)"
            let relay = try text("\(folder)/hosts/r1/relay.toml")
            #expect(relay.contains("nickname = \"r1\"\n"))
            #expect(relay.contains("country = \"CH\"\n"))
            #expect(
                relay.contains(
                    "addresses = [\"198.18.1.10:4433\", \"[2001:db8:101::10]:4433\"]\n"
                )
            )
            #expect(!relay.contains("[exit]"))
            let exit = try text("\(folder)/hosts/r3/relay.toml")
            #expect(exit.contains("[exit]\nenabled = true\nallow = [\"203.0.113.0/24\"]\n"))
            #expect(exit.contains("ipv4_pool = \"100.64.0.0/16\"\nipv6 = false\n"))
            let network = try text("\(folder)/directory/network.toml")
            #expect(network.contains("threshold = 2\n"))
            #expect(network.firstMatch(of: /network_id = "[0-9a-f]{64}"/) != nil)
            #expect(network.contains("[[authority]]\nindex = 1\nname = \"a2\"\nkey = \"000"))
            let parameters = try text("\(folder)/directory/parameters.toml")
            #expect(
                parameters
                    == "[path]\nipv4_subnet = 24\n\n[payment]\nrequired = false\nmints = 1\n"
            )
            let client = try text("\(folder)/hosts/client/client.toml")
            #expect(
                client.contains("[tunnel]\nmtu = 1280\nname = \"umbel0\"\nmode = \"fast\"\n")
            )
            let authority = try text("\(folder)/hosts/a2/authority.toml")
            #expect(authority.contains("[listen]\naddresses = [\"192.0.2.12:7000\"]\n"))
            #expect(network.contains("\naddresses = [\"192.0.2.12:7000\"]\n"))
            let countries = try text("\(folder)/directory/geoip")
            #expect(countries.contains("3323068682,3323068682,CH\n"))
            #expect(
                try text("\(folder)/directory/geoip6")
                    == "2001:db8:101::10,2001:db8:101::10,CH\n"
            )
        }
    }

    @Test("a killed relay is seen, started again, and the client is connected again")
    func restart() async throws {
        try await withStandIn { lab in
            try await lab.up()
            #expect(try await lab.lab("kill", ["r2"]).status == 0)
            #expect(try await lab.state(of: "r2") == "stopped")
            let start = try await lab.lab("start", ["r2"])
            #expect(start.status == 0, "\(start.message)")
            #expect(try await lab.state(of: "r2") == "running")
            #expect(try await lab.lab("kill", ["client"]).status == 0)
            #expect(try await lab.lab("start", ["client"]).status == 0)
            let calls = try text("\(lab.folder)/calls")
            #expect(calls.split(separator: "\n").filter { $0.hasPrefix("up --wait") }.count == 2)
        }
    }

    @Test(
        "what fails is named: the host, the reason, and where it is written",
        arguments: [
            ("authority keygen.*a2", "host a2 could not be prepared"),
            ("authority run.*a2", "authority on a2 ended while starting"),
            ("relay --config.*r3", "relay on r3 ended while starting"),
            ("daemon --config", "daemon on client ended while starting"),
            ("up --wait", "client client does not connect"),
        ]
    )
    func failures(command: String, what: String) async throws {
        try await withStandIn { lab in
            try Data(command.utf8).write(to: URL(fileURLWithPath: "\(lab.folder)/FAIL"))
            let outcome = try await lab.lab("up", [lab.file])
            #expect(outcome.status == 1)
            #expect(outcome.message.contains(what), "\(outcome.message)")
            #expect(outcome.message.contains("the stand-in was told to fail"))
        }
    }

    @Test("without the program umbel nothing is made")
    func missing() async throws {
        try await withStandIn { lab in
            var lab = lab
            lab.environment = ["UMBEL=\(lab.folder)/none"]
            let outcome = try await lab.lab("up", [lab.file])
            #expect(outcome.status == 1)
            #expect(outcome.message.contains("hint: set UMBEL to its path"))
            #expect(try await lab.remains() == [])
        }
    }
}
