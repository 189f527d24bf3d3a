import Base
import CryptoPrimitives
import Directory
import Testing
import Wire

/// A small network made from numbers: authorities, relays, documents; the same in every run.
struct SampleNetwork {
    let network = NetworkID(SHA256.digest(Array("sample".utf8)))
    let start = WallTime(seconds: 1_800_000_000)
    let root: TrustRoot
    let authorityKeys: [Ed25519.SigningKey]
    var parameters = NetworkParameters.lab

    init(authorityCount: Int = 4, threshold: Int = 3) throws {
        let keys = (0..<authorityCount).map { Self.key("authority", $0) }
        authorityKeys = keys
        root = try TrustRoot(
            network: network,
            threshold: threshold,
            authorities: keys.enumerated().map { index, key in
                TrustRoot.Authority(
                    index: UInt8(index),
                    key: key.publicKey,
                    name: "authority-\(index)"
                )
            }
        )
    }

    static func key(_ name: String, _ index: Int) -> Ed25519.SigningKey {
        let seed = SHA256.digest(Array("\(name) \(index)".utf8))
        return Ed25519.SigningKey(seed: Secret(copying: seed.bytes))
    }

    /// A relay's descriptor; every third is an exit, every fourth has IPv6 too.
    func descriptor(_ index: Int) throws -> Descriptor {
        let isExit = index.isMultiple(of: 3)
        let id = NodeID(Self.key("relay", index).publicKey)
        let block = UInt32(index) << 8
        return Descriptor(
            network: network,
            id: id,
            circuitKey: [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 1216),
            circuitKeyExpiryMinute: start.minute + 1440,
            publishedMinute: start.minute - 5,
            addresses: try RelayAddresses(
                v4: SocketAddress(ip: IPAddress(v4: 0xc612_0001 &+ block), port: 4433),
                v6: index.isMultiple(of: 4)
                    ? SocketAddress(
                        ip: IPAddress(high: 0x2001_0db8_0000_0000 | UInt64(index), low: 1),
                        port: 4433
                    ) : nil
            ),
            flags: isExit ? [.exit, .guardCapable, .exitsIPv6] : .guardCapable,
            bandwidthKilobits: UInt32(1_000 * (index + 1)),
            country: CountryCode(["DE", "FR", "NL"][index % 3]),
            autonomousSystem: UInt32(64_500 + index),
            policy: isExit
                ? .rules([
                    PolicyRule(
                        accepts: true,
                        transport: .tcp,
                        network: try #require(IPNetwork("198.51.100.0/24")),
                        ports: 80...443
                    )
                ]) : .none,
            family: index.isMultiple(of: 5)
                ? Descriptor.FamilyCertificate(
                    certifying: id,
                    in: network,
                    with: Self.key("family", 0)
                ) : nil,
            nickname: "relay-\(index)",
            contact: "operator <\(index)@example.net>"
        )
    }

    func signed(_ descriptor: Descriptor, _ index: Int) throws -> SignedDescriptor {
        try SignedDescriptor(signing: descriptor, with: Self.key("relay", index))
    }

    func descriptors(_ count: Int) throws -> [SignedDescriptor] {
        try (0..<count).map { try signed(descriptor($0), $0) }
    }

    func builder(at time: WallTime? = nil, log: DirectoryLog = DirectoryLog()) -> ConsensusBuilder {
        ConsensusBuilder(
            network: network,
            parameters: parameters,
            validAfter: time ?? start,
            log: log
        )
    }

    /// A document of `relayCount` relays with the signatures of `signers`.
    func document(
        relayCount: Int = 9,
        at time: WallTime? = nil,
        log: DirectoryLog = DirectoryLog(),
        signers: [Int] = [0, 1, 2]
    ) throws -> ConsensusDocument {
        let body = try builder(at: time, log: log).body(from: descriptors(relayCount)).body
        return try sign(ConsensusDocument(body: body), signers)
    }

    func sign(_ document: ConsensusDocument, _ signers: [Int]) throws -> ConsensusDocument {
        try signers.reduce(document) { document, index in
            let key = authorityKeys[index]
            return try document.adding(document.signature(by: UInt8(index), with: key))
        }
    }
}

/// A generator for choosing what to break, the same in every run.
func randomGenerator(_ seed: String) -> RandomGenerator {
    RandomGenerator(seed: Secret(copying: SHA256.digest(Array(seed.utf8)).bytes))
}
