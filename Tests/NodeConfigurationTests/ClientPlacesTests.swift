import NodeConfiguration
import Testing

@Suite("Where a client's files are")
struct ClientPlacesTests {
    @Test("a user's are where the XDG specification has them, relative paths counting as none")
    func user() {
        let given = ClientPlaces(ofUser: [
            "HOME": "/rose", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s",
            "XDG_RUNTIME_DIR": "/run/user/1000",
        ])
        #expect(given.configuration == "/c/umbel/client.toml")
        #expect(given.stateFolder == "/s/umbel")
        #expect(given.socket == "/run/user/1000/umbel/control.sock")
        let fallback = ClientPlaces(ofUser: [
            "HOME": "/rose", "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "",
        ])
        #expect(fallback.configuration == "/rose/.config/umbel/client.toml")
        #expect(fallback.stateFolder == "/rose/.local/state/umbel")
        #expect(fallback.socket == "/rose/.local/state/umbel/control.sock")
    }

    @Test("a configuration that names neither state nor socket has them there")
    func defaults() throws {
        let folder = try ScratchFolder()
        let file = try folder.write("client.toml", "[directory]\nnetwork = \"network.toml\"\n")
        let user = ClientPlaces(ofUser: ["HOME": "/rose"])
        let own = try ClientConfiguration(file: file, places: user)
        #expect(own.stateFolder == user.stateFolder)
        #expect(own.control.path == user.socket)
        let system = try ClientConfiguration(file: file)
        #expect(system.stateFolder == "/var/lib/umbel/client")
        #expect(system.control.path == "/run/umbel/control.sock")
        #expect(!system.split.allowsLocalNetwork)
        let named = try folder.write(
            "named.toml",
            """
            [client]
            state = "/elsewhere"
            [directory]
            network = "/n"
            [split]
            local_network = true
            [control]
            socket = "/there.sock"
            """
        )
        let other = try ClientConfiguration(file: named, places: user)
        #expect(other.stateFolder == "/elsewhere" && other.control.path == "/there.sock")
        #expect(other.split.allowsLocalNetwork)
    }
}
