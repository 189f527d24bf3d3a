/// Who knows what of a circuit, from its facts: `GET /v1/circuits/{id}/explain`.
public struct ExplainReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The circuit.
    public var circuit: UInt64
    /// Everybody on the way, the client first, the destination last.
    public var parties: [Party]
    /// What two of them would know together, and other warnings; empty where nothing stands out.
    public var warnings: [String]

    /// One of those who take part.
    public struct Party: Codable, Hashable, Sendable {
        /// What somebody is to a circuit.
        public enum Role: String, Codable, CaseIterable, Sendable {
            /// This machine.
            case client
            /// Who carries the client's datagrams to the guard.
            case accessNetwork = "access_network"
            /// The first hop.
            case guardRelay = "guard"
            /// The second hop.
            case middle
            /// The third hop.
            case exit
            /// Who carries packets from the exit on, and who answers them.
            case destination
        }

        /// What it is to the circuit.
        public var role: Role
        /// Its name.
        public var name: String
        /// Its country, two letters; `nil` where it has none or it is not known.
        public var country: String?
        /// Its operator as far as the directory tells: the family it declares.
        public var `operator`: String?
        /// Addresses it sees.
        public var addresses: [String]
        /// Keys it holds.
        public var keys: [String]
        /// What it is paid with; `nil` where it is not paid.
        public var payment: String?
        /// What it knows.
        public var knows: [String]
        /// What it does not.
        public var hidden: [String]

        /// Makes a party from its parts.
        public init(
            role: Role,
            name: String,
            country: String? = nil,
            operator: String? = nil,
            addresses: [String],
            keys: [String],
            payment: String? = nil,
            knows: [String],
            hidden: [String]
        ) {
            self.role = role
            self.name = name
            self.country = country
            self.operator = `operator`
            self.addresses = addresses
            self.keys = keys
            self.payment = payment
            self.knows = knows
            self.hidden = hidden
        }
    }

    /// Makes a report in the current schema.
    public init(circuit: UInt64, parties: [Party], warnings: [String]) {
        schema = reportSchema
        self.circuit = circuit
        self.parties = parties
        self.warnings = warnings
    }
}

extension ExplainReport {
    /// Says who knows what of `circuit`.
    ///
    /// - Parameter source: the address this machine's datagrams to the guard leave from; `nil` where
    ///   it is not known.
    public init?(_ circuit: CircuitReport, source: String?) {
        guard circuit.hops.count == 3 else { return nil }
        let (first, middle, exit) = (circuit.hops[0], circuit.hops[1], circuit.hops[2])
        let own = source ?? "this machine's address"
        let seen = Volumes(circuit)
        self.init(
            circuit: circuit.id,
            parties: [
                Party(
                    role: .client,
                    name: "this machine",
                    addresses: [own],
                    keys: [
                        "one each way with every hop", "those of the link with \(first.nickname)",
                    ],
                    knows: [
                        "the whole way, and what is in every packet",
                        "whom the circuit is for: \(circuit.isolation)",
                    ],
                    hidden: []
                ),
                Party(
                    role: .accessNetwork,
                    name: "the network this machine is in",
                    addresses: [own, first.address],
                    keys: [],
                    knows: [
                        "that this machine uses \(first.nickname), and so Umbel",
                        seen.onTheLine,
                    ],
                    hidden: seen.hidden + [
                        "which circuit it is for", "every hop beyond", "all content",
                    ]
                ),
                Party(
                    first,
                    role: .guardRelay,
                    addresses: [own, middle.address],
                    knows: [
                        "who you are, by \(own)", "the next hop, \(middle.nickname)",
                        seen.atTheGuard,
                    ],
                    hidden: seen.hidden + ["the exit", "where packets go", "all content"]
                ),
                Party(
                    middle,
                    role: .middle,
                    addresses: [first.address, exit.address],
                    knows: [
                        "that \(first.nickname) and \(exit.nickname) share a circuit",
                        seen.atTheMiddle,
                    ],
                    hidden: ["who you are", "where packets go", "all content"]
                ),
                Party(
                    exit,
                    role: .exit,
                    addresses: [middle.address, "every destination, in the packets themselves"],
                    knows: [
                        "where packets go, and what they hold where it is not encrypted",
                        "that all of it is one client's",
                        seen.atTheExit,
                    ],
                    hidden: ["who you are", "which guard you use"]
                ),
                Party(
                    role: .destination,
                    name: "who answers, and the networks between",
                    addresses: ["the exit's own, of \(exit.nickname)"],
                    keys: [],
                    knows: ["that somebody comes from \(exit.nickname), and what you say there"],
                    hidden: ["who you are, unless you say so", "the circuit"]
                ),
            ],
            warnings: Self.warnings(circuit.hops)
        )
    }

    private static func warnings(_ hops: [CircuitReport.Hop]) -> [String] {
        var warnings: [String] = []
        for near in hops.indices {
            for far in hops.indices where far > near {
                let (one, other) = (hops[near], hops[far])
                let pair = "\(one.nickname) and \(other.nickname)"
                if let family = one.family, family == other.family {
                    warnings.append("\(pair) have one operator, family \(family)")
                }
                if let number = one.autonomousSystem, number == other.autonomousSystem {
                    warnings.append("\(pair) stand in one network, AS\(number)")
                }
                if near == 0, far == hops.count - 1, one.country == other.country,
                    one.country != "??"
                {
                    warnings.append("\(pair), guard and exit, both stand in \(one.country)")
                }
            }
        }
        return warnings
    }
}

/// What those on the way see of when and how much is sent, by the circuit's mode.
///
/// Spec: §D.1, §G.
private struct Volumes {
    let onTheLine: String
    let atTheGuard: String
    let atTheMiddle: String
    let atTheExit: String
    /// What the line and the guard do not see for the mode's sake.
    let hidden: [String]

    init(_ circuit: CircuitReport) {
        let (out, back) = (circuit.cellsForward, circuit.cellsBackward)
        let cells = "\(out) cells out and \(back) back so far, all of one size"
        let cover = circuit.traffic?.coverCells ?? 0
        let opened = "when and how much: \(cells), and which are cover: \(cover) of those out"
        switch circuit.traffic?.mode ?? .fast {
        case .fast:
            onTheLine = "when and how much, in datagrams of 1392 bytes"
            atTheGuard = "when and how much: \(cells)"
            atTheMiddle = atTheGuard
            atTheExit = atTheGuard
            hidden = []
        case .padded:
            let rate = "when you are there, and how much to a factor of four: one of four rates"
            onTheLine = "\(rate), in datagrams of 1392 bytes"
            atTheGuard = "\(rate), \(cells)"
            atTheMiddle = opened
            atTheExit = "when and how much, without the cover"
            hidden = ["when and how much within a rate: cover looks as all else does"]
        case .mix:
            let slot = circuit.traffic?.slotMilliseconds.map { "\($0.formatted) ms" } ?? "time"
            let rate = "when you are there: one cell each way in each slot of \(slot)"
            onTheLine = "\(rate), in datagrams of 1392 bytes"
            atTheGuard = "\(rate), \(cells)"
            atTheMiddle = "\(opened), each held for as many slots as you drew"
            atTheExit = "when and how much, without the cover, and later than it was sent"
            hidden = ["when and how much you send: cover looks as all else does"]
        }
    }
}

extension Double {
    /// Without a fraction that says nothing.
    fileprivate var formatted: String {
        self == rounded() ? "\(Int(self))" : "\(self)"
    }
}

extension ExplainReport.Party {
    /// A hop, with its keys and pay.
    fileprivate init(
        _ hop: CircuitReport.Hop,
        role: Role,
        addresses: [String],
        knows: [String],
        hidden: [String]
    ) {
        var payment: String?
        if let ticks = hop.paidTicks {
            payment =
                hop.lacksVoucher == true
                ? "nothing yet: the wallet has no voucher for it"
                : "\(ticks) ticks by vouchers no mint can link to this client"
        }
        self.init(
            role: role,
            name: hop.nickname,
            country: hop.country == "??" ? nil : hop.country,
            operator: hop.family.map { "family \($0)" },
            addresses: addresses,
            keys: ["the keys of its own layer, number \(hop.position), and of its two links"],
            payment: payment,
            knows: knows,
            hidden: hidden
        )
    }
}
