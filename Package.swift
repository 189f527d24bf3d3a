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
    products: [
        // Holds the fuzz entry points, which the fuzzers under Tools link.
        .library(name: "TestSupport", targets: ["TestSupport"])
    ],
    dependencies: [
        // X-Wing, X25519, HKDF, SHA-256; AES-GCM where neither C library serves.
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2")
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
        module("Protocol", "Paths", ["Base", "CryptoPrimitives", "Wire", "Directory"]),

        // Nodes: whole nodes as values
        module(
            "Nodes",
            "RelayCore",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Flows",
                "Directory",
            ]
        ),
        module(
            "Nodes",
            "ClientCore",
            [
                "Base", "CryptoPrimitives", "Wire", "Onion", "Links", "Circuits", "Flows",
                "Directory", "Paths",
            ]
        ),

        // Shells: one kind of input and output each
        module("Shells", "EventLoop", ["Base", "CLinux"]),
        module("Shells", "UDPTransport", ["Base", "CLinux", "EventLoop"]),
        module("Shells", "TunDevice", ["Base", "CLinux", "EventLoop"]),

        tests(of: "Base", resources: [.copy("Vectors")]),
        tests(of: "Directory", ["Base", "CryptoPrimitives", "Wire"]),
        tests(of: "CryptoPrimitives", ["Base"], resources: [.copy("Vectors")]),
        tests(of: "Paths", ["Base", "CryptoPrimitives", "Directory", "Wire"]),

        // Vector files, seeds and fuzz entry points for the tests of several modules.
        .target(
            name: "TestSupport",
            dependencies: [
                "Base", "CryptoPrimitives", "Wire", "Links", "Flows", "Directory",
            ],
            path: "Tests/TestSupport",
            resources: [.copy("Corpus")],
            swiftSettings: settings
        ),
        tests(of: "Wire", ["Base", "CryptoPrimitives", "TestSupport"]),
        // Reads the sources: who imports whom, and words that have no place in a tier.
        .testTarget(
            name: "TidyTests",
            path: "Tests/TidyTests",
            swiftSettings: settings
        ),
        tests(of: "Circuits", ["Base", "CryptoPrimitives", "Wire", "Onion", "TestSupport"]),
        tests(of: "Links", ["Base", "CryptoPrimitives", "Wire", "Onion", "TestSupport"]),
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
        tests(of: "EventLoop", ["Base"]),
        tests(of: "UDPTransport", ["Base", "EventLoop", "NamespaceSupport"]),
        tests(of: "TunDevice", ["Base", "EventLoop", "NamespaceSupport", "UDPTransport"]),
    ]
)
