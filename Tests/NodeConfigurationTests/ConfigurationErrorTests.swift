import NodeConfiguration
import Testing

@Suite("Errors in configuration files (matrix row 70)")
struct ConfigurationErrorTests {
    /// A mistake in a relay's file, and the three lines that answer it without the folder's name.
    struct Mistake: Sendable, CustomTestStringConvertible {
        let name: String
        let text: String
        let answer: String
        var testDescription: String { name }
    }

    static let mistakes = [
        Mistake(
            name: "unknown key with a near one",
            text: leastRelay.replacing("nickname", with: "nicknmae"),
            answer: """
                relay.toml:1: `nickname` is missing in [node]
                  it has no default
                  hint: set `nickname` to a name of 1 to 19 letters, digits or hyphens
                relay.toml:2: unknown key `nicknmae` in [node]
                  the table has contact, country, family_key, nickname, state
                  hint: did you mean `nickname`?
                """
        ),
        Mistake(
            name: "unknown key with none near",
            text: leastRelay + "\n[limits]\nflowers = 3",
            answer: """
                relay.toml:10: unknown key `flowers` in [limits]
                  the table has circuits, drain, hours, links, memory, quota, quota_counts, \
                quota_day, quota_period, rate, rate_received, rate_sent, shards
                  hint: remove it, or see the example file of this role
                """
        ),
        Mistake(
            name: "unknown table",
            text: leastRelay + "\n\n[limit]\nshards = 3",
            answer: """
                relay.toml:10: unknown table [limit]
                  this file has control, directory, exit, limits, listen, metrics, node
                  hint: did you mean `limits`?
                """
        ),
        Mistake(
            name: "duplicate key",
            text: leastRelay.replacing("state =", with: "nickname = \"rose\"\nstate ="),
            answer: """
                relay.toml:3: not valid TOML
                  Error while parsing key-value pair: cannot redefine existing string 'nickname'
                  hint: mend line 3, then `umbel check-config relay.toml`
                """
        ),
        Mistake(
            name: "wrong type",
            text: leastRelay.replacing("\"iris\"", with: "7"),
            answer: """
                relay.toml:2: `nickname` is not a name of 1 to 19 letters, digits or hyphens
                  found the number 7
                  hint: set `nickname` in [node] to a name of 1 to 19 letters, digits or hyphens
                """
        ),
        Mistake(
            name: "out of range",
            text: leastRelay + "\n[limits]\nshards = 0",
            answer: """
                relay.toml:10: `shards` is not a whole number from 1 to 64
                  found the number 0
                  hint: set `shards` in [limits] to a whole number from 1 to 64
                """
        ),
        Mistake(
            name: "an element of a list",
            text: leastRelay + "\n[exit]\nports = [\n  \"80\",\n  \"90-80\",\n]",
            answer: """
                relay.toml:10: `ports` is not a list of at most 32, each ports such as "443", \
                "1000-2000" or "*" for all
                  found a list
                  hint: set `ports` in [exit] to a list of at most 32, each ports such as \
                "443", "1000-2000" or "*" for all
                """
        ),
        Mistake(
            name: "the same address twice",
            text: leastRelay.replacing(
                "[\"192.0.2.1:4433\"]",
                with: "[\"192.0.2.1:1\", \"192.0.2.1:1\"]"
            ),
            answer: """
                relay.toml:5: `addresses` in [listen] is empty or names an address twice
                  a relay receives on each of its addresses once
                  hint: set `addresses` to 1 to 8 different addresses
                """
        ),
        Mistake(
            name: "a value where a table belongs",
            text: "exit = true\n" + leastRelay,
            answer: """
                relay.toml:1: `exit` is not a table
                  its keys are read from a table of that name
                  hint: write `[exit]` on a line of its own
                """
        ),
        Mistake(
            name: "a socket path no kernel takes",
            text: leastRelay + "\n[control]\nsocket = \"/\(String(repeating: "a", count: 107))\"",
            answer: """
                relay.toml:10: `socket` in [control] is too long
                  a socket's path has at most 107 bytes, this has 108
                  hint: choose a shorter path, such as /run/umbel/relay/control.sock
                """
        ),
    ]

    @Test("Each mistake is answered by its line, its reason and a hint", arguments: mistakes)
    func golden(mistake: Mistake) throws {
        let folder = try ScratchFolder()
        let file = try folder.write("relay.toml", mistake.text)
        let error = #expect(throws: ConfigurationError.self) { try RelayConfiguration(file: file) }
        #expect(error?.description.replacing(folder.path + "/", with: "") == mistake.answer)
    }

    @Test("A missing file is named with its reason")
    func missingFile() {
        let error = #expect(throws: ConfigurationError.self) {
            try ClientConfiguration(file: "/nonexistent/client.toml")
        }
        #expect(
            error?.description == """
                /nonexistent/client.toml: cannot be read
                  there is no such file
                  hint: name the file with --config
                """
        )
    }

    @Test("A program that stops for its configuration exits 78")
    func exitCode() {
        #expect(ConfigurationError.exitCode == 78)
    }

    @Test("Threshold and doubled authorities of a trust root are refused")
    func trustRoot() throws {
        let folder = try ScratchFolder()
        let key = String(repeating: "ab", count: 32)
        let authority = "\n[[authority]]\nindex = 0\nname = \"amber\"\nkey = \"\(key)\"\n"
        let head = "network_id = \"\(key)\"\nthreshold = 1\n"
        let file = try folder.write("network.toml", head + authority + authority)
        let error = #expect(throws: ConfigurationError.self) {
            try NetworkConfiguration(file: file)
        }
        #expect(
            error?.problems.map { $0.what.replacing(folder.path + "/", with: "") } == [
                "network.toml:2: `threshold` is 1 of 2 authorities",
                "network.toml:10: authority \"amber\" has the index or key of another",
            ]
        )
    }

    @Test("An unknown key of an authority is found at its line")
    func unknownAuthorityKey() throws {
        let folder = try ScratchFolder()
        let key = String(repeating: "ab", count: 32)
        let file = try folder.write(
            "network.toml",
            """
            network_id = "\(key)"
            threshold = 1
            treshold = 1
            [[authority]]
            index = 0
            name = "amber"
            kye = "\(key)"
            """
        )
        let error = #expect(throws: ConfigurationError.self) {
            try NetworkConfiguration(file: file)
        }
        #expect(
            error?.problems.map { $0.what.replacing(folder.path + "/", with: "") } == [
                "network.toml:3: unknown key `treshold`",
                "network.toml:4: `key` is missing in [[authority]]",
                "network.toml:7: unknown key `kye` in [[authority]]",
            ]
        )
        #expect(error?.problems.last?.hint == "did you mean `key`?")
    }
}
