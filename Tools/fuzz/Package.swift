// swift-tools-version: 6.3
import PackageDescription

// A package of its own, built with --sanitize=fuzzer: libFuzzer brings the main function, and a plain
// build could not link it.
let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "umbel", path: "../..")],
    targets: [
        .executableTarget(
            name: "Fuzz",
            dependencies: [.product(name: "TestSupport", package: "umbel")],
            swiftSettings: [
                .treatAllWarnings(as: .error),
                .unsafeFlags(["-parse-as-library"]),
            ]
        )
    ]
)
