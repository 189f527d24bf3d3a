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

/// A module of the product; `tier` is its folder under `Sources`.
func module(_ tier: String, _ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "Sources/\(tier)/\(name)",
        swiftSettings: strictSettings
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
    dependencies: [
        // X-Wing, X25519, HKDF, SHA-256; AES-GCM where neither C library serves.
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        // The command line, its help and its completions.
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
        // Configuration files.
        .package(url: "https://github.com/LebJe/TOMLKit.git", from: "0.6.0"),
    ],
    targets: packetCryptoTargets + [
        // Bindings: C that Swift's Glibc does not show.
        .target(name: "CLinux", path: "Sources/Bindings/CLinux"),
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
            ] + packetCrypto
        ),
        module("Primitives", "Wire", ["Base"]),

        // Protocol: machines without input or output
        module("Protocol", "Onion", ["Base", "CryptoPrimitives", "Wire"]),
        module("Protocol", "Links", ["Base", "CryptoPrimitives", "Wire", "Onion"]),
        module("Protocol", "Circuits", ["Base", "CryptoPrimitives", "Wire", "Onion"]),
        module("Protocol", "Flows", ["Base", "Wire"]),
        module("Protocol", "Directory", ["Base", "CryptoPrimitives", "Wire"]),
        module("Protocol", "Paths", ["Base", "Directory"]),

        // Shells: one kind of input and output each
        module("Shells", "UDPTransport", ["Base", "CLinux"]),
        module("Shells", "TunDevice", ["Base", "CLinux"]),
        module("Shells", "HostNetwork", ["Base", "CLinux"]),
        module(
            "Shells",
            "ControlAPI",
            [
                "Base",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),

        // Programs
        module("Programs", "NodeConfiguration", ["Base", "TOMLKit"]),
        .executableTarget(
            name: "umbel",
            dependencies: [
                "Base", "ControlAPI", "HostNetwork", "NodeConfiguration",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/Programs/umbel",
            swiftSettings: settings
        ),

        tests(of: "Base"),
        tests(of: "ControlAPI", [.product(name: "Logging", package: "swift-log")]),
        tests(of: "HostNetwork", ["Base"]),
        tests(of: "NodeConfiguration", ["Base"]),
        .testTarget(
            name: "UmbelTests",
            dependencies: [
                "ControlAPI", "umbel", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/UmbelTests",
            swiftSettings: settings
        ),
    ]
)
