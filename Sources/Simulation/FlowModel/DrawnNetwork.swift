import Base
import CryptoPrimitives
public import Directory
import Foundation
public import Paths
import Simulation
import Wire

/// Why a plan makes no network.
public struct PlanError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The reason.
    public let description: String

    /// Takes the reason over.
    public init(_ description: String) {
        self.description = description
    }
}

/// A network as drawn from a plan: the directory clients choose from, and what is behind it.
///
/// Arrays are by relay, in the order of the view.
public struct DrawnNetwork: Sendable {
    /// The directory.
    public let view: NetworkView
    /// A selector for this view; clients begin from it.
    public let selector: PathSelector
    /// Cells a second each relay's line carries.
    let capacity: [Double]
    /// The place of each relay.
    let place: [UInt8]
    /// Sums of the countries' parts of clients.
    let clientSums: [Double]
    /// Seconds one way between two places, by place and place.
    let latency: [Double]
    /// How many places there are.
    let placeCount: Int
    /// When each relay is up.
    let uptimes: Uptimes
    /// Relays that are exits.
    let exits: [UInt16]
    /// Relays fit to be guards.
    let guardCount: Int

    /// Draws a network.
    ///
    /// - Throws: ``PlanError`` where a plan is impossible.
    public init(_ plan: NetworkPlan, streams: Streams) throws {
        try Self.check(plan)
        var random = streams.generator(.relays)
        let drafts = try Self.drafts(plan, using: &random)
        view = try Self.view(drafts.map(\.record), plan.parameters, streams: streams)
        var generator = streams.generator(.keys, 1)
        selector = PathSelector(view: view, at: view.validAfter, using: &generator)
        capacity = drafts.map { $0.bitsPerSecond / Double(8 * NetworkPlan.wireByteCount) }
        place = drafts.map(\.place)
        let countries = plan.countries
        placeCount = max(1, countries.count)
        latency = Self.latencies(plan)
        clientSums = Self.sums(countries.isEmpty ? [1] : countries.map(\.clients))
        uptimes = Uptimes(plan, streams: streams)
        (exits, guardCount) = Self.kinds(view)
    }

    /// Takes over a directory that is there already, in place of one drawn from a plan.
    ///
    /// Lines have no limit. Relays and clients are in the plan's countries.
    public init(view: NetworkView, plan: NetworkPlan, streams: Streams) {
        self.view = view
        var generator = streams.generator(.keys, 1)
        selector = PathSelector(view: view, at: view.validAfter, using: &generator)
        capacity = [Double](repeating: .infinity, count: view.relays.count)
        let countries = plan.countries
        place = view.relays.map { relay in
            UInt8(countries.firstIndex { $0.code == relay.country } ?? 0)
        }
        placeCount = max(1, countries.count)
        latency = Self.latencies(plan)
        clientSums = Self.sums(countries.isEmpty ? [1] : countries.map(\.clients))
        uptimes = Uptimes(plan, streams: streams)
        (exits, guardCount) = Self.kinds(view)
    }

    private static func kinds(_ view: NetworkView) -> (exits: [UInt16], guardCount: Int) {
        let relays = view.relays
        return (
            relays.indices.filter { relays[$0].flags.contains(.exit) }.map { UInt16($0) },
            relays.count { $0.flags.contains(.guardCapable) }
        )
    }

    /// The relays as a world of cores is made of them.
    var drafts: [RelayRoster.Draft] {
        view.relays.map { relay in
            var draft = RelayRoster.Draft(flags: relay.flags)
            draft.v4 = relay.addresses.v4?.ip
            draft.weightKilobits = relay.weight
            draft.country = relay.country
            draft.autonomousSystem = relay.autonomousSystem
            draft.family = relay.family
            return draft
        }
    }

    /// Times between places, as a world of cores takes them.
    var placeTable: PlaceLatencies {
        PlaceLatencies(
            count: placeCount,
            latencies: latency.map { TimeSpan(nanoseconds: UInt64($0 * 1e9)) }
        )
    }

    /// A place for a client, drawn.
    func clientPlace(using random: inout RandomGenerator) -> UInt8 {
        UInt8(random.place(in: clientSums))
    }

    /// Seconds one way between two places.
    @inline(__always)
    func delay(_ one: UInt8, _ other: UInt8) -> Double {
        latency[Int(one) * placeCount + Int(other)]
    }

    /// The same network without the relays in `absent`.
    func view(without absent: Set<Int>, streams: Streams) throws -> NetworkView {
        let left = view.relays.indices.filter { !absent.contains($0) }.map { view.relays[$0] }
        return try Self.view(left, view.parameters, streams: streams)
    }

    // MARK: Drawing

    private struct Draft {
        var record: RelayRecord
        var bitsPerSecond: Double
        var place: UInt8
    }

    private static func check(_ plan: NetworkPlan) throws {
        let guards = Int((Double(plan.relayCount) * plan.guardShare).rounded())
        let exits = Int((Double(plan.relayCount) * plan.exitShare).rounded())
        guard (3...NetworkPlan.relayLimit).contains(plan.relayCount) else {
            throw PlanError(
                "\(plan.relayCount) relays: there may be 3 to \(NetworkPlan.relayLimit)"
            )
        }
        guard guards >= 1, exits >= 1, guards + exits <= plan.relayCount else {
            throw PlanError(
                "\(guards) guards and \(exits) exits of \(plan.relayCount) relays make no circuit"
            )
        }
        guard plan.countries.count <= 200, plan.systemCount * plan.subnetsPerSystem <= 25_000 else {
            throw PlanError("more than 200 countries or 25,000 networks of autonomous systems")
        }
    }

    private static func drafts(
        _ plan: NetworkPlan,
        using random: inout RandomGenerator
    ) throws -> [Draft] {
        let count = plan.relayCount
        let guardCount = Int((Double(count) * plan.guardShare).rounded())
        let exitCount = Int((Double(count) * plan.exitShare).rounded())
        // Which relay is what has nothing to do with its name or its order.
        var kinds = (0..<count).map { $0 < guardCount ? 0 : $0 < guardCount + exitCount ? 1 : 2 }
        for index in kinds.indices.reversed() {
            kinds.swapAt(index, Int(random.next(below: UInt64(index + 1))))
        }
        let countrySums = sums(plan.countries.isEmpty ? [1] : plan.countries.map(\.relays))
        // An autonomous system stands in one country.
        let systemPlaces = (0..<plan.systemCount).map { _ in random.place(in: countrySums) }
        let systemSums = sums(
            (0..<plan.systemCount).map { pow(Double($0 + 1), -plan.systemExponent) }
        )
        let kindFlags: [RelayFlags] = [.guardCapable, [.exit, .exitsIPv6], []]
        var hostCounts: [UInt32: UInt32] = [:]
        var drafts: [Draft] = []
        drafts.reserveCapacity(count)
        let familyCount = max(1, Int(Double(count) * plan.familyShare) / max(1, plan.familySize))
        for index in 0..<count {
            let system = random.place(in: systemSums)
            let place = systemPlaces[system]
            let net = UInt32(
                system * plan.subnetsPerSystem
                    + Int(random.next(below: UInt64(plan.subnetsPerSystem)))
            )
            let host = hostCounts[net, default: 0]
            hostCounts[net] = host + 1
            // From 11.0.0.0 on, a /16 for each net, one host of each /24 after the other.
            let address = 0x0b00_0000 &+ net << 16 &+ (host % 256) << 8 &+ host / 256 &+ 1
            let bits = random.draw(plan.bandwidth)
            let isInFamily = random.unit() < plan.familyShare
            let family = UInt64(random.next(below: UInt64(familyCount)))
            drafts.append(
                Draft(
                    record: RelayRecord(
                        id: NodeID(random.bytes32()),
                        circuitKey: random.bytes(1_216),
                        circuitKeyExpiryMinute: Self.began.minute + 60 * 24 * 400,
                        addresses: try RelayAddresses(
                            v4: SocketAddress(ip: IPAddress(v4: address), port: 4433),
                            v6: nil
                        ),
                        flags: kindFlags[kinds[index]],
                        weight: UInt32(max(1, bits / 1_000)),
                        country: plan.countries.isEmpty ? nil : plan.countries[place].code,
                        autonomousSystem: UInt32(64_512 + system),
                        family: isInFamily && plan.familySize > 1
                            ? FamilyID(high: 1, low: family + 1) : nil,
                        features: RelayFeatures.current,
                        policy: kinds[index] == 1 ? .standard : .none,
                        nickname: "relay-\(index)"
                    ),
                    bitsPerSecond: bits,
                    place: UInt8(place)
                )
            )
        }
        return drafts.sorted { $0.record.id < $1.record.id }
    }

    /// A directory of three of four authorities, which clients believe.
    private static func view(
        _ relays: [RelayRecord],
        _ parameters: NetworkParameters,
        streams: Streams
    ) throws -> NetworkView {
        var random = streams.generator(.keys)
        let network = NetworkID(random.bytes32())
        let keys = (0..<4).map { _ in Ed25519.SigningKey(seed: random.secret(byteCount: 32)) }
        let root = try TrustRoot(
            network: network,
            threshold: 3,
            authorities: keys.enumerated().map { index, key in
                TrustRoot.Authority(index: UInt8(index), key: key.publicKey, name: "a\(index)")
            }
        )
        let consensus = Consensus(
            network: network,
            validAfter: began,
            freshUntil: began + UInt64(parameters.freshSeconds),
            validUntil: began + UInt64(parameters.validSeconds),
            parameters: parameters,
            previousDigest: .zero,
            logSize: 0,
            logRoot: .zero,
            relays: relays
        )
        var document = try ConsensusDocument(body: try consensus.encoded())
        for index in 0..<3 {
            document = try document.adding(
                document.signature(by: UInt8(index), with: keys[index])
            )
        }
        return try root.verify(document, at: began)
    }

    private static let began = WallTime(seconds: 1_800_000_000)

    static func sums(_ parts: [Double]) -> [Double] {
        var sum = 0.0
        return parts.map {
            sum += $0
            return sum
        }
    }

    private static func latencies(_ plan: NetworkPlan) -> [Double] {
        guard !plan.countries.isEmpty else { return [plan.latencyBase] }
        return plan.countries.flatMap { one in
            plan.countries.map { other in
                plan.latencyBase + plan.latencyPerMegametre * distance(one, other) / 1_000
            }
        }
    }

    /// Kilometres between two places over the surface of the earth, by the haversine.
    private static func distance(
        _ one: NetworkPlan.Country,
        _ other: NetworkPlan.Country
    ) -> Double {
        let radians = Double.pi / 180
        let (first, second) = (one.latitude * radians, other.latitude * radians)
        let north = sin((second - first) / 2)
        let east = sin((other.longitude - one.longitude) * radians / 2)
        let share = north * north + cos(first) * cos(second) * east * east
        return 2 * 6_371 * asin(min(1, share.squareRoot()))
    }
}
