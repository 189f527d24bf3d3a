import Base
import CryptoPrimitives
import Directory
import DirectoryHTTP
import EventLoop
import Logging
import NodeConfiguration
import Wire

/// Tells the authorities of a relay, again and again, and hears what they think of it.
actor RelayRegistrar {
    private static let answerTime: Duration = .seconds(5)
    private static let answerLimit = 4_096
    private static let soon: Duration = .seconds(2)
    private static let wrongClockPause: Duration = .seconds(10)
    private static let freshSeconds: UInt64 = 6 * 3_600

    private let configuration: RelayConfiguration
    private let network: NetworkConfiguration
    private let identity: Ed25519.SigningKey
    private let http = DirectoryClient()
    private let logger: Logger
    private var circuitKey: CircuitKey
    private var descriptor: SignedDescriptor?
    private var signedAt = WallTime(seconds: 0)
    /// What each authority said last, by name; empty before the first answer.
    private(set) var answers: [String: String] = [:]
    private var clocks = ClockComparison()
    private var view: NetworkView?
    private var toldListing: String?
    private var toldProblem: String?

    /// Makes a registrar of the relay with these keys.
    init(
        _ configuration: RelayConfiguration,
        network: NetworkConfiguration,
        identity: Ed25519.SigningKey,
        circuitKey: CircuitKey,
        logger: Logger
    ) {
        self.configuration = configuration
        self.network = network
        self.identity = identity
        self.circuitKey = circuitKey
        self.logger = logger
    }

    /// Registers until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            do {
                try await register()
            } catch {
                note(error)
            }
            try? await Task.sleep(for: pause)
        }
    }

    /// Announces another circuit key from now on.
    func announce(_ key: CircuitKey) async {
        circuitKey = key
        descriptor = nil
        do {
            try await register()
        } catch {
            note(error)
        }
    }

    /// Nobody is told of a relay that cannot describe itself.
    private func note(_ error: any Error) {
        let problem = "no descriptor can be made of [node] and [listen]: \(error)"
        for authority in network.authorities { answers[authority.name] = "not told: \(problem)" }
        guard problem != toldProblem else { return }
        toldProblem = problem
        logger.error("\(problem)")
    }

    /// Takes a newer view, and tells the operator whether the relay is in it.
    func note(_ view: NetworkView) {
        self.view = view
        let listing = listing
        guard listing != toldListing else { return }
        toldListing = listing
        logger.notice("\(listing)")
    }

    /// Whether the relay is listed, and as what; `nil` before there is a directory.
    var record: RelayRecord? {
        view?.relay(NodeID(identity.publicKey))
    }

    /// Whether a directory has come yet.
    var hasView: Bool {
        view != nil
    }

    private var listing: String {
        guard let record else {
            let reasons = answers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            return "this relay is not listed (\(reasons.joined(separator: "; ")))"
        }
        return "this relay is listed: \(record.flags.names.joined(separator: ", "))"
    }

    private var pause: Duration {
        // The operator is about to set the clock, and to ask whether it is right now.
        if clocks.isWrong { return Self.wrongClockPause }
        guard let view, record != nil, !answers.isEmpty else { return Self.soon }
        return max(Self.soon, .seconds(Int64(min(view.parameters.intervalSeconds, 1_200)) / 2))
    }

    private func register() async throws {
        let now = WallClock.now()
        let age = now.seconds - min(now.seconds, signedAt.seconds)
        let isRefused = answers.values.contains { $0.hasPrefix(Self.refused) }
        if descriptor == nil || age > Self.freshSeconds || (isRefused && age > 60) {
            descriptor = try SignedDescriptor(
                configuration,
                identity: identity,
                circuitKey: circuitKey,
                family: try configuration.familyKey.map { try FamilyKey.read($0) },
                network: NetworkID(network.networkID),
                minute: now.minute
            )
            signedAt = now
        }
        guard let bytes = descriptor?.encoded() else { return }
        await withTaskGroup(of: (String, String, Int64?).self) { group in
            for authority in network.authorities {
                guard let address = authority.addresses.first else { continue }
                group.addTask { [http] in
                    let clock = ClockNote()
                    let answer = await Self.post(bytes, to: address, http) { clock.note($0) }
                    return (authority.name, answer, clock.offsetSeconds)
                }
            }
            for await (name, answer, offset) in group {
                answers[name] = answer
                if let offset { clocks.note(offset, of: name) }
            }
        }
        guard let change = clocks.takeChange() else { return }
        if clocks.isWrong { logger.error("\(change)") } else { logger.notice("\(change)") }
    }

    /// Seconds that this machine's clock is behind the authorities'; `nil` before one told its time.
    var clockOffsetSeconds: Int64? {
        clocks.offsetSeconds
    }

    private static let refused = "refused: "

    private static func post(
        _ bytes: [UInt8],
        to address: SocketAddress,
        _ http: DirectoryClient,
        noteTime: @escaping @Sendable (WallTime) -> Void
    ) async -> String {
        do throws(DirectoryFetchError) {
            let answer = try await http.send(
                .post(.descriptor, bytes),
                to: address,
                limit: answerLimit,
                within: answerTime,
                noteTime: noteTime
            )
            guard case .bytes(let text) = answer else { return "it takes no descriptors" }
            return String(decoding: text, as: UTF8.self)
        } catch {
            if case .refused(_, _, let text) = error { return refused + text }
            return "\(error)"
        }
    }
}

extension RelayFlags {
    /// The flags by name, for people and reports.
    var names: [String] {
        var names = ["running"]
        if contains(.guardCapable) { names.append("guard") }
        if contains(.exit) { names.append("exit") }
        if contains(.exitsIPv6) { names.append("exit-ipv6") }
        return names
    }
}
