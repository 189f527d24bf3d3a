public import Base

/// The trust root every node of a network shares: `network.toml`.
public struct NetworkConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// The network's identifier.
    public var networkID: Bytes32
    /// Signatures that make a consensus.
    public var threshold: Int
    /// The authorities, by rising index; 1 to 64.
    public var authorities: [Authority]
    /// The mints, by rising index; at most 10, empty where nobody pays.
    public var mints: [Body] = []
    /// Those who give money together, by rising index; at most 10.
    public var admins: [Body] = []
    /// How many admins must sign a grant.
    public var grantThreshold = 1

    /// A mint, or an admin: who it is, by its key.
    public struct Body: Hashable, Sendable {
        /// Its number in announcements and signatures.
        public var index: UInt8
        /// Its name, for people.
        public var name: String
        /// Its Ed25519 public key.
        public var key: Bytes32
    }

    /// One body that signs the directory.
    public struct Authority: Hashable, Sendable {
        /// Its number in signatures: 0 to 255.
        public var index: UInt8
        /// Its name, for people.
        public var name: String
        /// Its Ed25519 public key.
        public var key: Bytes32
        /// Where it hands the directory out and takes descriptors, TCP; at most 4, may be empty.
        public var addresses: [SocketAddress] = []
    }

    /// Reads `file` as it is.
    ///
    /// The environment overrides nothing here: this is what all trust rests on.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public init(file: String) throws(ConfigurationError) {
        let document = try Document(file: file, environment: [:])
        let top = document.topSection()
        let networkID = top.required("network_id", .bytes32)
        let threshold = top.required("threshold", .integer(1...64))

        let sections = document.sections("authority", limit: 64)
        var authorities: [Authority] = []
        for section in sections {
            let index = section.required("index", .integer(0...255))
            let name = section.required("name", .nickname)
            let key = section.required("key", .bytes32)
            let addresses = section.value(
                "addresses",
                .list(.socketAddress, limit: 4),
                default: []
            )
            guard let index, let name, let key else { continue }
            if authorities.contains(where: { Int($0.index) == index || $0.key == key }) {
                section.note(
                    "index",
                    what: "authority \"\(name)\" has the index or key of another",
                    why: "each signature must count once",
                    hint: "give every authority its own index and key"
                )
            }
            authorities.append(
                Authority(
                    index: UInt8(truncatingIfNeeded: index),
                    name: name,
                    key: key,
                    addresses: addresses
                )
            )
        }
        if sections.isEmpty {
            document.note(
                line: nil,
                what: "no [[authority]]",
                why: "a consensus is trusted for its signatures",
                hint: "add the authorities of the network, each with index, name and key"
            )
        } else if let threshold, !(sections.count / 2 + 1...sections.count).contains(threshold) {
            top.note(
                "threshold",
                what: "`threshold` is \(threshold) of \(sections.count) authorities",
                why: "it must be a majority and no more than there are",
                hint: "set `threshold` to \(sections.count / 2 + 1) to \(sections.count)"
            )
        }

        mints = Self.bodies("mint", in: document)
        admins = Self.bodies("admin", in: document)
        let grantThreshold = top.optional("grant_threshold", .integer(1...10))
        if let grantThreshold, grantThreshold > max(1, admins.count) {
            top.note(
                "grant_threshold",
                what: "`grant_threshold` is \(grantThreshold) of \(admins.count) admins",
                why: "no grant could ever be signed by so many",
                hint: "set `grant_threshold` to at most \(max(1, admins.count))"
            )
        }
        self.grantThreshold = grantThreshold ?? admins.count * 2 / 3 + 1

        try document.finish()
        guard let networkID, let threshold else { throw document.failure }
        self.file = file
        self.networkID = networkID
        self.threshold = threshold
        self.authorities = authorities.sorted { $0.index < $1.index }
    }
    /// The sections `name`, each with an index from 0 without gaps, a name and a key.
    private static func bodies(_ name: String, in document: Document) -> [Body] {
        let sections = document.sections(name, limit: 10)
        var bodies: [Body] = []
        for section in sections {
            let index = section.required("index", .integer(0...9))
            let title = section.required("name", .nickname)
            let key = section.required("key", .bytes32)
            guard let index, let title, let key else { continue }
            if index >= sections.count
                || bodies.contains(where: { Int($0.index) == index || $0.key == key })
            {
                section.note(
                    "index",
                    what: "\(name) \"\(title)\" has an index or key that cannot be its own",
                    why: "they are numbered from 0 to \(sections.count - 1), each with its key",
                    hint: "give every [[\(name)]] its own index and key"
                )
            }
            bodies.append(Body(index: UInt8(truncatingIfNeeded: index), name: title, key: key))
        }
        return bodies.sorted { $0.index < $1.index }
    }
}
