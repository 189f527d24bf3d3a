import Base
import Circuits
import CryptoPrimitives
import Directory
import Foundation
import HostNetwork
import Links
import Wire

/// A relay of its own that runs on this machine's loopback, in a network nobody else is in.
struct LoopbackRelay {
    /// Where it listens.
    let address: SocketAddress
    /// The network's name.
    let network: NetworkID
    /// What it says of itself.
    let descriptor: Descriptor
    let process: ProcessIdentity
    private let folder: String

    /// Its control socket.
    var socket: String { "\(folder)/control.sock" }

    /// How to open a link to it.
    var linkTarget: LinkTarget {
        LinkTarget(
            network: network,
            relay: descriptor.id,
            address: address,
            publicKey: descriptor.circuitKey
        )
    }

    /// How to make a circuit with it as a hop.
    var hopTarget: HopTarget {
        HopTarget(network: network, relay: descriptor.id, publicKey: descriptor.circuitKey)
    }

    /// Starts one on `port`, with `limits` as the lines of its table of that name.
    ///
    /// - Throws: ``LabError`` where it does not start, `HostNetworkError` where its keys are not made.
    static func start(port: UInt16, limits: [(String, String)] = []) async throws -> Self {
        let umbel = try DaemonLauncher.locate()
        let folder = FileManager.default.temporaryDirectory.path + "/umbel-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        do {
            return try await start(umbel, folder, port: port, limits: limits)
        } catch {
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }

    private static func start(
        _ umbel: String,
        _ folder: String,
        port: UInt16,
        limits: [(String, String)]
    ) async throws -> Self {
        let address = SocketAddress(ip: IPAddress(v4: 0x7f00_0001), port: port)
        var random = RandomGenerator(
            seed: Secret(copying: (0..<32).map { _ in UInt8.random(in: 0...255) })
        )
        let network = NetworkID(random.bytes32())
        let authority = Ed25519.SigningKey(seed: random.secret(byteCount: 32))
        // Nobody lists it: the one who would has no address.
        let root =
            TOMLText.section(
                "# A network of one relay.",
                [("network_id", TOMLText.quoted(network.rawValue.hex)), ("threshold", "1")]
            )
            + TOMLText.section(
                "\n[[authority]]",
                [
                    ("index", "0"), ("name", TOMLText.quoted("nobody")),
                    ("key", TOMLText.quoted(authority.publicKey.hex)),
                ]
            )
        func text(listeningOn address: SocketAddress) -> String {
            TOMLText.section(
                "[node]",
                [
                    ("nickname", TOMLText.quoted("loopback")),
                    ("state", TOMLText.quoted("\(folder)/state")),
                ]
            )
                + TOMLText.section("\n[listen]", [("addresses", TOMLText.list(["\(address)"]))])
                + TOMLText.section(
                    "\n[directory]",
                    [("network", TOMLText.quoted("\(folder)/network.toml"))]
                )
                + TOMLText.section("\n[limits]", limits + [("drain", TOMLText.quoted("0s"))])
                + TOMLText.section(
                    "\n[control]",
                    [("socket", TOMLText.quoted("\(folder)/control.sock"))]
                )
        }
        let configuration = "\(folder)/relay.toml"
        try Data(root.utf8).write(to: URL(fileURLWithPath: "\(folder)/network.toml"))
        // A descriptor, which is to tell the relay's keys, names no address of the loopback.
        let described = "\(folder)/described.toml"
        let elsewhere = SocketAddress(ip: IPAddress(v4: 0xc612_0101), port: port)
        for (file, place) in [(configuration, address), (described, elsewhere)] {
            try Data(text(listeningOn: place).utf8).write(to: URL(fileURLWithPath: file))
        }
        let runner = CommandRunner()
        try await runner.run([umbel, "keygen", "--role", "relay", "--state", "\(folder)/state"])
        try await runner.run([
            umbel, "relay", "descriptor", "--config", described, "--output",
            "\(folder)/descriptor",
        ])
        let bytes = FileManager.default.contents(atPath: "\(folder)/descriptor") ?? Data()
        let descriptor = try SignedDescriptor(parsing: Array(bytes)).descriptor
        let process = try DetachedProcess.start(
            [umbel, "relay", "--config", configuration],
            log: "\(folder)/relay.log"
        )
        let relay = Self(
            address: address,
            network: network,
            descriptor: descriptor,
            process: process,
            folder: folder
        )
        do {
            try await relay.waitUntilReady()
        } catch {
            relay.end()
            throw error
        }
        return relay
    }

    private func waitUntilReady() async throws {
        let end = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < end, process.state != .gone {
            if case .response(200, _) = ControlProbe(socket: socket).ask() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        let log = FileManager.default.contents(atPath: "\(folder)/relay.log") ?? Data()
        throw LabError(
            "a relay on \(address) does not start",
            why: String(decoding: log.suffix(500), as: UTF8.self)
        )
    }

    /// What it says of itself and its line.
    func report() throws(LabError) -> RelayReading {
        try ControlProbe(socket: socket).report("/v1/status", of: "the relay", subject: "how it is")
    }

    /// What it takes of the machine.
    func weight() throws(LabError) -> ProcessWeight {
        try ProcessWeight(process.pid)
    }

    /// Ends it, and takes its files away.
    func end() {
        process.send(SIGTERM)
        let end = ContinuousClock.now + .seconds(10)
        while process.state != .gone, ContinuousClock.now < end { usleep(20_000) }
        process.send(SIGKILL)
        waitpid(process.pid, nil, 0)
        try? FileManager.default.removeItem(atPath: folder)
    }
}

/// What a relay reports, as far as measurements need it.
struct RelayReading: Decodable {
    var circuits: Int
    var links: Int
    var cellsForward: UInt64
    var line: Line?
    var listing: Listing?

    struct Line: Decodable {
        var rateSent: Double
        var rateReceived: Double
        var limitSent: Double?
        var waitingBytes: Double

        private enum CodingKeys: String, CodingKey {
            case rateSent = "bit_rate_sent"
            case rateReceived = "bit_rate_received"
            case limitSent = "limit_sent"
            case waitingBytes = "bytes_waiting"
        }
    }

    struct Listing: Decodable {
        var isListed: Bool
        var authorities: [String: String]

        private enum CodingKeys: String, CodingKey {
            case authorities
            case isListed = "listed"
        }
    }

    private enum CodingKeys: String, CodingKey {
        case circuits, links, line, listing
        case cellsForward = "cells_forward"
    }
}
