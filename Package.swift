// swift-tools-version: 6.3
import PackageDescription

/// One set of rules for every Swift target of ours.
let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

/// Everything but tests also names each unsafe construct where it stands.
let strictSettings = settings + [.strictMemorySafety()]

/// What every packet goes through is optimised in debug builds too: simulated networks run in
/// minutes of virtual time, and allocations can be counted without a second build.
let coreSettings =
    strictSettings + [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// A module of the product; `tier` is its folder under `Sources`.
func module(
    _ tier: String,
    _ name: String,
    _ dependencies: [Target.Dependency] = [],
    resources: [Resource] = []
) -> Target {
    let isCore = ["Primitives", "Protocol", "Nodes"].contains(tier)
    return .target(
        name: name,
        dependencies: dependencies,
        path: "Sources/\(tier)/\(name)",
        resources: resources,
        swiftSettings: isCore ? coreSettings : strictSettings
    )
}

/// The tests of the module `name`; `resources` are folders beside the test files.
func tests(
    of name: String,
    _ dependencies: [Target.Dependency] = [],
    resources: [Resource] = []
) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: [.target(name: name)] + dependencies,
        path: "Tests/\(name)Tests",
        resources: resources,
        swiftSettings: settings
    )
}

/// Queues of the modules without input or output.
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")

#if arch(x86_64)
    let packetCrypto: [Target.Dependency] = ["CIPSecMB"]
    let packetCryptoTargets: [Target] = [
        // libipsec-mb ships no .pc file: its module map names the library.
        .systemLibrary(
            name: "CIPSecMB",
            path: "Sources/Bindings/CIPSecMB",
            providers: [.apt(["libipsec-mb-dev"])]
        )
    ]
#else
    let packetCrypto: [Target.Dependency] = []
    let packetCryptoTargets: [Target] = []
#endif

let package = Package(
    name: "umbel",
    products: [
        // Holds the fuzz entry points, which the fuzzers under Tools link.
        .library(name: "TestSupport", targets: ["TestSupport"])
    ],
    dependencies: [
        // X-Wing, X25519, blind RSA, HPKE; AES-GCM where neither C library serves.
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        // Queues taken from the front.
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        // Subcommands, options, help and completions of both programs.
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        // Log lines of daemons and servers.
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        // The daemon's HTTP API on a Unix socket, and the client that asks it.
        .package(
            url: "https://github.com/hummingbird-project/hummingbird.git",
            from: "2.28.1",
            traits: []
        ),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        // Sockets where they are not the packet path.
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        // Names of HTTP's header fields.
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.5.1"),
        // Signals as a sequence, to end by.
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle.git",
            from: "2.13.0"
        ),
        // Ledgers and wallets on disk: SQLite with one connection.
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        // Configuration files.
        .package(url: "https://github.com/LebJe/TOMLKit.git", from: "0.6.0"),
        // Topologies of the lab.
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
        // Runs ip, nft and sysctl without a shell in between.
        .package(url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2"),
        // File paths, as swift-subprocess takes them.
        .package(url: "https://github.com/apple/swift-system.git", from: "1.8.1"),
    ],
    targets: packetCryptoTargets + [
        // Bindings: C that Swift's Glibc does not show, and sums as wide as a processor has them.
        .target(name: "CLinux", path: "Sources/Bindings/CLinux"),
        .target(
            name: "CWordSum",
            path: "Sources/Bindings/CWordSum",
            cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]
        ),
        .systemLibrary(
            name: "CSodium",
            path: "Sources/Bindings/CSodium",
            pkgConfig: "libsodium",
            providers: [.apt(["libsodium-dev"])]
        ),

        // Primitives
        module("Primitives", "Base"),
        module(
            "Primitives",
            "CryptoPrimitives",
            [
                "Base", "CSodium",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ] + packetCrypto
        ),
        module("Primitives", "Wire", ["Base", "CWordSum"]),

        // Protocol: machines without input or output
        module("Protocol", "Onion", ["Base", "CryptoPrimitives", "Wire"]),
        module("Protocol", "Links", ["Base", "CryptoPrimitives", "Wire", "Onion", deque]),
        module("Protocol", "Circuits", ["Base", "CryptoPrimitives", "Wire", "Onion"]),
        module("Protocol", "Mixing", ["Base", "CryptoPrimitives", "Wire"]),
        module("Protocol", "Flows", ["Base", "Wire"]),
        module("Protocol", "Directory", ["Base", "CryptoPrimitives", "Wire"]),
        module("Protocol", "Paths", ["Base", "CryptoPrimitives", "Wire", "Directory"]),
        module("Protocol", "Tickets", ["Base", "CryptoPrimitives", "Wire"]),

        // Nodes: whole nodes as values
        module(
            "Nodes",
            "RelayCore",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Mixing",
                "Flows", "Directory", "Tickets", deque,
            ]
        ),
        module(
            "Nodes",
            "ClientCore",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Mixing",
                "Flows", "Directory", "Paths", "Tickets", deque,
            ]
        ),

        module(
            "Nodes",
            "AuthorityCore",
            ["Base", "CryptoPrimitives", "Wire", "Directory", "Tickets", deque]
        ),
        module("Nodes", "MintCore", ["Base", "CryptoPrimitives", "Wire", "Tickets"]),
        tests(
            of: "RelayCore",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Flows",
                "Tickets", "TestSupport",
            ]
        ),

        // The whole network in virtual time, around the node cores
        .target(
            name: "Simulation",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Mixing",
                "Flows", "Directory", "Paths", "Tickets", "RelayCore", "ClientCore", "MintCore",
                "Anonymity", "Workloads",
            ],
            path: "Sources/Simulation",
            exclude: ["Anonymity", "FlowModel", "Workloads"],
            swiftSettings: coreSettings
        ),
        // What people do with a network, and what adversaries learn of it
        .target(
            name: "Workloads",
            dependencies: ["Base", "CryptoPrimitives"],
            path: "Sources/Simulation/Workloads",
            swiftSettings: coreSettings
        ),
        .target(
            name: "Anonymity",
            dependencies: ["Base", "CryptoPrimitives", "Mixing", "Workloads"],
            path: "Sources/Simulation/Anonymity",
            swiftSettings: coreSettings
        ),
        tests(of: "Workloads", ["Base", "CryptoPrimitives"]),
        tests(of: "Anonymity", ["CryptoPrimitives", "Workloads"]),
        // Networks too large for that: circuits as flows, beside the cores for comparison
        .target(
            name: "FlowModel",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Directory", "Paths", "Tickets", "ClientCore",
                "RelayCore", "Simulation",
            ],
            path: "Sources/Simulation/FlowModel",
            swiftSettings: coreSettings
        ),
        tests(
            of: "FlowModel",
            ["Base", "CryptoPrimitives", "Wire", "Directory", "Paths", "Simulation", "Tickets"]
        ),
        tests(
            of: "Simulation",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Mixing",
                "Flows", "Directory", "Paths", "Tickets", "RelayCore", "ClientCore", "MintCore",
                "Anonymity", "Workloads", "TestSupport",
            ]
        ),

        // Shells: one kind of input and output each
        module("Shells", "EventLoop", ["Base", "CLinux"]),
        module("Shells", "UDPTransport", ["Base", "CLinux", "EventLoop"]),
        module("Shells", "TunDevice", ["Base", "CLinux", "EventLoop"]),
        module("Shells", "Store", ["Base", .product(name: "GRDB", package: "GRDB.swift")]),
        module(
            "Shells",
            "HostNetwork",
            [
                "Base", "CLinux", "EventLoop",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]
        ),
        module(
            "Shells",
            "ControlAPI",
            [
                "Base",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            // In the program itself: a page that is installed apart would be of another version.
            resources: [
                "Inspector/Page/index.html", "Inspector/Page/app.css", "Inspector/Page/app.js",
                "Inspector/Page/pages.js", "Inspector/Page/pictures.js", "Inspector/Page/world.js",
                "Inspector/Page/icon.svg", "openapi.yaml",
            ].map { .embedInCode($0) }
        ),

        module(
            "Shells",
            "DirectoryHTTP",
            [
                "Base",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),

        module(
            "Shells",
            "Observability",
            [
                "Base",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),

        module(
            "Shells",
            "ProxyServer",
            [
                "Base",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),

        // Programs
        module("Programs", "NodeConfiguration", ["Base", "TOMLKit"]),
        module(
            "Programs",
            "NodeRuntime",
            [
                "Base", "CLinux", "CryptoPrimitives", "Wire", "Links", "Circuits", "Mixing",
                "Flows",
                "Directory", "Paths", "RelayCore", "ClientCore", "AuthorityCore", "EventLoop",
                "UDPTransport", "TunDevice", "HostNetwork", "ControlAPI", "DirectoryHTTP",
                "NodeConfiguration", "MintCore", "Observability", "Tickets", "Store",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .executableTarget(
            name: "umbel",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Directory", "EventLoop", "ControlAPI",
                "DirectoryHTTP", "HostNetwork", "NodeConfiguration", "NodeRuntime", "ProxyServer",
                "Store", "Tickets",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Sources/Programs/umbel",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "umbel-lab",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Flows",
                "Directory", "Paths", "Tickets", "AuthorityCore", "ClientCore", "RelayCore",
                "EventLoop", "HostNetwork", "Simulation", "Anonymity", "FlowModel", "Workloads",
                "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ],
            path: "Sources/Programs/umbel-lab",
            swiftSettings: coreSettings
        ),

        // Tests
        // Vector files, seeds and fuzz entry points for the tests of several modules.
        .target(
            name: "TestSupport",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Links", "Flows", "Directory", "ProxyServer",
            ],
            path: "Tests/TestSupport",
            resources: [.copy("Corpus")],
            swiftSettings: settings
        ),
        tests(of: "Wire", ["Base", "CryptoPrimitives", "CWordSum", "TestSupport"]),
        // Reads the sources: who imports whom, and words that have no place in a tier.
        .testTarget(
            name: "TidyTests",
            path: "Tests/TidyTests",
            swiftSettings: settings
        ),
        tests(of: "Circuits", ["Base", "CryptoPrimitives", "Wire", "Onion", "TestSupport"]),
        tests(of: "Links", ["Base", "CryptoPrimitives", "Wire", "Onion", "TestSupport"]),
        tests(of: "Mixing", ["Base", "CryptoPrimitives", "Wire", "TestSupport"]),
        tests(
            of: "Onion",
            ["Base", "CryptoPrimitives", "Wire", "TestSupport"],
            resources: [.copy("Vectors")]
        ),

        // Network namespaces for the tests of shells that need them.
        .target(
            name: "NamespaceSupport",
            dependencies: ["CLinux", "EventLoop"],
            path: "Tests/NamespaceSupport",
            swiftSettings: settings
        ),
        tests(of: "Base", resources: [.copy("Vectors")]),
        tests(of: "CryptoPrimitives", ["Base"], resources: [.copy("Vectors")]),
        tests(of: "Flows", ["Base", "Wire"]),
        tests(of: "Directory", ["Base", "CryptoPrimitives", "Wire"]),
        tests(of: "AuthorityCore", ["Base", "CryptoPrimitives", "Directory", "Tickets", "Wire"]),
        tests(of: "Paths", ["Base", "CryptoPrimitives", "Directory", "Wire"]),
        tests(
            of: "Tickets",
            ["Base", "CryptoPrimitives", "Wire", "TestSupport"],
            resources: [.copy("Vectors")]
        ),
        // Under SQLite: a disk that fails and loses power on demand.
        .target(
            name: "CCrashVFS",
            path: "Tests/CCrashVFS",
            linkerSettings: [.linkedLibrary("sqlite3")]
        ),
        tests(
            of: "MintCore",
            ["Base", "CryptoPrimitives", "Wire", "Tickets", "Store", "CCrashVFS", "TestSupport"]
        ),
        tests(of: "Store", ["Base", "CCrashVFS"]),
        tests(
            of: "Observability",
            ["Base", "TestSupport", .product(name: "Logging", package: "swift-log")]
        ),
        tests(of: "EventLoop", ["Base"]),
        tests(of: "UDPTransport", ["Base", "EventLoop", "NamespaceSupport"]),
        tests(of: "TunDevice", ["Base", "EventLoop", "NamespaceSupport", "UDPTransport"]),
        tests(of: "HostNetwork", ["Base", "NamespaceSupport"]),
        tests(
            of: "DirectoryHTTP",
            ["Base", .product(name: "Logging", package: "swift-log")]
        ),
        tests(
            of: "NodeRuntime",
            [
                "Base", "CryptoPrimitives", "Wire", "Links", "Circuits", "Directory", "RelayCore",
                "ClientCore", "ControlAPI", "EventLoop", "Store", "Tickets", "CCrashVFS",
                "UDPTransport", "DirectoryHTTP", "HostNetwork", "NodeConfiguration",
                "NamespaceSupport", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        tests(
            of: "ProxyServer",
            [
                "Base", "HostNetwork", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
        tests(
            of: "ControlAPI",
            [
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        tests(of: "NodeConfiguration", ["Base"]),
        .testTarget(
            name: "LabTests",
            dependencies: [
                "umbel-lab", "Anonymity", "Base", "CryptoPrimitives", "FlowModel", "HostNetwork",
                "Workloads",
            ],
            path: "Tests/LabTests",
            swiftSettings: settings
        ),
        // A kernel without IPv6, as programs see it.
        .target(name: "CFamilyFilter", path: "Tests/CFamilyFilter"),
        // Labs with the real programs in them: the outer ring.
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "umbel", "umbel-lab", "Base", "CFamilyFilter", "ControlAPI", "EventLoop",
                "HostNetwork", "NamespaceSupport", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/EndToEndTests",
            swiftSettings: settings
        ),
        .testTarget(
            name: "UmbelTests",
            dependencies: [
                "Base", "Circuits", "ClientCore", "Links", "CryptoPrimitives", "Wire", "Directory",
                "EventLoop", "ControlAPI",
                "NodeRuntime", "umbel",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/UmbelTests",
            swiftSettings: settings
        ),
    ]
)
