public import Base
public import Wire

/// Makes the body of a consensus from descriptors: the same bytes for the same input, in any order.
public struct ConsensusBuilder: Sendable {
    /// The network.
    public let network: NetworkID
    /// Its parameters.
    public let parameters: NetworkParameters
    /// When the consensus begins to hold.
    public let validAfter: WallTime
    /// The log of the documents before it.
    public let log: DirectoryLog

    /// What came of the descriptors.
    public struct Outcome: Hashable, Sendable {
        /// The body to sign.
        public let body: [UInt8]
        /// Relays that are listed.
        public let listedCount: Int
        /// Descriptors that were left out, by identity, with the reason.
        public let omissions: [Omission]
    }

    /// A descriptor that was left out.
    public struct Omission: Hashable, Sendable {
        /// The relay it names.
        public let id: NodeID
        /// Why.
        public let reason: OmissionReason
    }

    /// Takes the inputs over.
    public init(
        network: NetworkID,
        parameters: NetworkParameters,
        validAfter: WallTime,
        log: DirectoryLog = DirectoryLog()
    ) {
        self.network = network
        self.parameters = parameters
        self.validAfter = validAfter
        self.log = log
    }

    /// Lists what is valid and says what is not.
    ///
    /// A relay's weight is the bandwidth it offers: nothing measures it yet.
    /// - Throws: ``DirectoryError/malformed(_:)`` when parameters or times are out of range or
    ///   there are too many relays.
    public func body(from descriptors: [SignedDescriptor]) throws(DirectoryError) -> Outcome {
        var omissions: [Omission] = []
        var usable: [SignedDescriptor] = []
        for descriptor in descriptors {
            if let reason = fault(of: descriptor) {
                omissions.append(Omission(id: descriptor.descriptor.id, reason: reason))
            } else {
                usable.append(descriptor)
            }
        }
        let single = Self.newestOfEach(usable, omissions: &omissions)
        let listed = Self.firstAtEachAddress(single, omissions: &omissions)
        let consensus = Consensus(
            network: network,
            validAfter: validAfter,
            freshUntil: validAfter + UInt64(parameters.freshSeconds),
            validUntil: validAfter + UInt64(parameters.validSeconds),
            parameters: parameters,
            previousDigest: log.lastDigest,
            logSize: log.size,
            logRoot: log.root,
            relays: listed.map { RelayRecord(listing: $0.descriptor) }
        )
        do {
            return Outcome(
                body: try consensus.encoded(),
                listedCount: listed.count,
                omissions: omissions.sorted {
                    ($0.id, $0.reason.description) < ($1.id, $1.reason.description)
                }
            )
        } catch { throw .malformed(error) }
    }

    private func fault(of signed: SignedDescriptor) -> OmissionReason? {
        do { try signed.verify(network: network) } catch { return .unverified(error) }
        let descriptor = signed.descriptor
        let ahead = validAfter + Self.clockToleranceSeconds
        guard descriptor.publishedMinute <= ahead.minute else { return .publishedInFuture }
        let published = WallTime(seconds: UInt64(descriptor.publishedMinute) * 60)
        guard published + UInt64(parameters.descriptorSeconds) > validAfter else { return .tooOld }
        guard descriptor.circuitKeyExpiryMinute > validAfter.minute else {
            return .circuitKeyExpired
        }
        return nil
    }

    /// Sorts by identity and keeps the newest descriptor of each relay; two different ones of the
    /// same minute cancel each other.
    private static func newestOfEach(
        _ descriptors: [SignedDescriptor],
        omissions: inout [Omission]
    ) -> [SignedDescriptor] {
        let sorted = descriptors.sorted { first, second in
            (first.descriptor.id, second.descriptor.publishedMinute)
                < (second.descriptor.id, first.descriptor.publishedMinute)
        }
        var kept: [SignedDescriptor] = []
        var start = 0
        while start < sorted.count {
            let newest = sorted[start]
            let id = newest.descriptor.id
            let end = sorted[start...].firstIndex { $0.descriptor.id != id } ?? sorted.count
            let contradicts = sorted[start..<end].contains {
                $0.descriptor.publishedMinute == newest.descriptor.publishedMinute
                    && $0.body != newest.body
            }
            for other in sorted[start..<end].dropFirst(contradicts ? 0 : 1) {
                let isSame = other.descriptor.publishedMinute == newest.descriptor.publishedMinute
                let reason: OmissionReason =
                    contradicts && isSame ? .contradicted : isSame ? .duplicate : .superseded
                omissions.append(Omission(id: id, reason: reason))
            }
            if !contradicts { kept.append(newest) }
            start = end
        }
        return kept
    }

    /// Of relays that claim one address and port, the first by identity is listed.
    private static func firstAtEachAddress(
        _ descriptors: [SignedDescriptor],
        omissions: inout [Omission]
    ) -> [SignedDescriptor] {
        var owners: [SocketAddress: NodeID] = [:]
        return descriptors.filter { signed in
            let addresses = signed.descriptor.addresses.all
            if let taken = addresses.first(where: { owners[$0] != nil }), let owner = owners[taken]
            {
                let reason = OmissionReason.addressTaken(taken, by: owner)
                omissions.append(Omission(id: signed.descriptor.id, reason: reason))
                return false
            }
            for address in addresses { owners[address] = signed.descriptor.id }
            return true
        }
    }

    private static let clockToleranceSeconds: UInt64 = 3_600
}

/// Why a descriptor was left out of a consensus.
public enum OmissionReason: Hashable, Sendable {
    /// Network, signature or family certificate is wrong.
    case unverified(DirectoryError)
    /// Published more than an hour after the consensus begins.
    case publishedInFuture
    /// Published too long before.
    case tooOld
    /// Its circuit key is no longer used.
    case circuitKeyExpired
    /// The same descriptor came twice.
    case duplicate
    /// A newer descriptor of the relay is listed.
    case superseded
    /// The relay signed two different descriptors in one minute.
    case contradicted
    /// Another relay is listed at its address.
    case addressTaken(SocketAddress, by: NodeID)
}

extension OmissionReason: CustomStringConvertible {
    /// Why, for people.
    public var description: String {
        switch self {
        case .unverified(let error): error.description
        case .publishedInFuture: "published more than an hour ahead of the consensus"
        case .tooOld: "published too long ago"
        case .circuitKeyExpired: "its circuit key has expired"
        case .duplicate: "the same descriptor came twice"
        case .superseded: "a newer descriptor of this relay is there"
        case .contradicted: "two different descriptors of this relay are of the same minute"
        case .addressTaken(let address, let owner): "\(address) is listed for relay \(owner)"
        }
    }
}

extension RelayRecord {
    /// The record of a relay by its own words.
    init(listing descriptor: Descriptor) {
        self.init(
            id: descriptor.id,
            circuitKey: descriptor.circuitKey,
            circuitKeyExpiryMinute: descriptor.circuitKeyExpiryMinute,
            addresses: descriptor.addresses,
            flags: descriptor.flags,
            weight: max(1, descriptor.bandwidthKilobits),
            country: descriptor.country,
            autonomousSystem: descriptor.autonomousSystem,
            family: descriptor.family?.id,
            features: descriptor.features,
            policy: descriptor.policy,
            nickname: descriptor.nickname
        )
    }
}
