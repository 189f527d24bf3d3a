public import Base

/// The parameters an authority puts into the consensus: `parameters.toml`.
///
/// Spec: protocol text §J. Every key has the default of a large network.
public struct ParametersConfiguration: Hashable, Sendable {
    /// The file this was read from.
    public var file: String
    /// Time from one consensus to the next.
    public var interval: TimeSpan
    /// Intervals a consensus stays valid.
    public var validIntervals: Int
    /// No two relays of a path share this many leading bits of their IPv4 addresses.
    public var ipv4SubnetBits: Int
    /// No two relays of a path share this many leading bits of their IPv6 addresses.
    public var ipv6SubnetBits: Int
    /// Whether guard and exit must be in different countries.
    public var hasDistinctCountries: Bool
    /// Guards a client samples, at least.
    public var guardSample: Int
    /// Guards a client tries first.
    public var guardPrimary: Int
    /// Middles in a client's second layer.
    public var middleLayer: Int
    /// Minutes a CREATE may be off, to either side.
    public var minuteWindow: Int
    /// Time from one circuit key of a relay to the next one.
    public var circuitKeyPeriod: TimeSpan
    /// Time in which an authority measures each relay once; zero turns measuring off.
    public var measurePeriod: TimeSpan
    /// The most cells one measurement takes.
    public var measureCells: Int
    /// The most time one measurement takes.
    public var measureTime: TimeSpan
    /// Time in which what a relay counts for may double.
    public var weightDoubling: TimeSpan
    /// How relays are paid.
    public var payment: Payment

    /// How relays are paid.
    public struct Payment: Hashable, Sendable {
        /// Whether relays serve nobody who does not pay.
        public var isRequired: Bool
        /// Mints of the network, whether or not all of them are there.
        public var mints: Int
        /// Version of the set of mints that sign.
        public var setVersion: Int
        /// Length of an epoch of vouchers.
        public var epoch: TimeSpan
        /// Time from one deposit of a relay to the next, on average.
        public var deposits: TimeSpan
        /// Trial and small vouchers of one purchase.
        public var batch: Int
        /// Cells a tick pays at guard and middle.
        public var tickCells: Int
        /// Cells a tick pays at the exit.
        public var exitTickCells: Int
        /// Thousandths of a deposit that are burnt.
        public var burn: Int
    }

    /// Reads `file`, with the overrides of `environment`.
    ///
    /// - Throws: ``ConfigurationError`` with every problem found.
    public init(file: String, environment: [String: String] = [:]) throws(ConfigurationError) {
        let document = try Document(file: file, environment: environment)
        let directory = document.section("directory")
        interval = directory.value(
            "interval",
            .duration(.seconds(5)...TimeSpan.seconds(86_400)),
            default: .seconds(3600)
        )
        validIntervals = directory.value("valid_intervals", .integer(2...48), default: 3)

        let path = document.section("path")
        ipv4SubnetBits = path.value("ipv4_subnet", .integer(8...32), default: 16)
        ipv6SubnetBits = path.value("ipv6_subnet", .integer(16...128), default: 32)
        hasDistinctCountries = path.value("distinct_countries", .flag, default: true)
        guardSample = path.value("guard_sample", .integer(1...60), default: 20)
        guardPrimary = path.value("guard_primary", .integer(1...20), default: 3)
        middleLayer = path.value("middle_layer", .integer(1...32), default: 4)
        if guardPrimary > guardSample {
            path.note(
                "guard_primary",
                what: "`guard_primary` is \(guardPrimary), `guard_sample` only \(guardSample)",
                why: "primary guards are taken from the sample",
                hint: "set `guard_primary` to at most \(guardSample)"
            )
        }

        let circuit = document.section("circuit")
        minuteWindow = circuit.value("minute_window", .integer(1...10), default: 2)
        circuitKeyPeriod = circuit.value(
            "key_period",
            .duration(.seconds(120)...TimeSpan.seconds(30 * 86_400)),
            default: .seconds(86_400)
        )

        let measure = document.section("measure")
        measurePeriod = measure.value(
            "period",
            .duration(.zero...TimeSpan.seconds(30 * 86_400)),
            default: .seconds(86_400)
        )
        measureCells = measure.value("cells", .integer(256...1_048_576), default: 65_536)
        measureTime = measure.value(
            "time",
            .duration(.milliseconds(100)...TimeSpan.seconds(30)),
            default: .seconds(3)
        )
        weightDoubling = measure.value(
            "doubling",
            .duration(.seconds(10)...TimeSpan.seconds(366 * 86_400)),
            default: .seconds(7 * 86_400)
        )

        payment = Payment(document.section("payment"))

        try document.finish()
        self.file = file
    }
}

extension ParametersConfiguration.Payment {
    init(_ section: Section) {
        let month = TimeSpan.seconds(30 * 86_400)
        isRequired = section.value("required", .flag, default: false)
        mints = section.value("mints", .integer(1...10), default: 4)
        setVersion = section.value("set_version", .integer(0...3), default: 0)
        epoch = section.value(
            "epoch",
            .duration(.seconds(60)...month),
            default: .seconds(7 * 86_400)
        )
        deposits = section.value(
            "deposits",
            .duration(.seconds(5)...month),
            default: .seconds(86_400)
        )
        batch = section.value("batch", .integer(1...32), default: 32)
        tickCells = section.value("tick_cells", .integer(1...65_536), default: 256)
        exitTickCells = section.value("exit_tick_cells", .integer(1...65_536), default: 128)
        burn = section.value("burn_per_mille", .integer(0...1_000), default: 20)
    }
}
