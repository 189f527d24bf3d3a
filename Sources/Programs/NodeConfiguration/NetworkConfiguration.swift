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

        try document.finish()
        guard let networkID, let threshold else { throw document.failure }
        self.file = file
        self.networkID = networkID
        self.threshold = threshold
        self.authorities = authorities.sorted { $0.index < $1.index }
    }
}
