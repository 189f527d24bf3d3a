extension NetworkParameters {
    /// What one parameter is called and may be.
    public struct Field: Sendable {
        /// Its number in the document.
        public let id: UInt16
        /// Its name in configuration files.
        public let name: StaticName
        /// The values it may have.
        public let range: ClosedRange<UInt32>
        /// Whether the first version did without it, so that a document may.
        public let isLater: Bool
        let path: any WritableKeyPath<NetworkParameters, UInt32> & Sendable

        init(
            id: UInt16,
            name: StaticName,
            range: ClosedRange<UInt32>,
            isLater: Bool = false,
            path: any WritableKeyPath<NetworkParameters, UInt32> & Sendable
        ) {
            self.id = id
            self.name = name
            self.range = range
            self.isLater = isLater
            self.path = path
        }
    }

    /// Every parameter this version knows, ascending by number.
    public static let fields: [Field] = [
        Field(id: 1, name: "interval-seconds", range: 1...day, path: \.intervalSeconds),
        Field(id: 2, name: "fresh-seconds", range: 1...month, path: \.freshSeconds),
        Field(id: 3, name: "valid-seconds", range: 1...year, path: \.validSeconds),
        Field(id: 4, name: "descriptor-seconds", range: 60...year, path: \.descriptorSeconds),
        Field(
            id: 5,
            name: "circuit-key-seconds",
            range: 120...month,
            path: \.circuitKeySeconds
        ),
        Field(id: 10, name: "subnet-prefix-v4", range: 0...32, path: \.subnetPrefixV4),
        Field(id: 11, name: "subnet-prefix-v6", range: 0...128, path: \.subnetPrefixV6),
        Field(
            id: 12,
            name: "guard-exit-countries-differ",
            range: 0...1,
            path: \.guardExitCountriesDiffer.number
        ),
        Field(id: 20, name: "payments-required", range: 0...1, path: \.paymentsRequired.number),
        Field(id: 21, name: "tick-cells", range: 1...65_536, path: \.tickCells),
        Field(id: 22, name: "exit-tick-cells", range: 1...65_536, path: \.exitTickCells),
        Field(id: 23, name: "ticket-epoch-seconds", range: 60...year, path: \.ticketEpochSeconds),
        Field(id: 24, name: "burn-per-mille", range: 0...1_000, path: \.burnPerMille),
        Field(id: 25, name: "mint-count", range: 1...10, isLater: true, path: \.mintCount),
        Field(
            id: 26,
            name: "mint-set-version",
            range: 0...3,
            isLater: true,
            path: \.mintSetVersion
        ),
        Field(
            id: 27,
            name: "deposit-seconds",
            range: 5...month,
            isLater: true,
            path: \.depositSeconds
        ),
        Field(id: 28, name: "voucher-batch", range: 1...32, isLater: true, path: \.voucherBatch),
        Field(id: 30, name: "datagram-bytes", range: 1_280...9_000, path: \.datagramByteCount),
        Field(id: 40, name: "guard-sample-minimum", range: 1...60, path: \.guardSampleMinimum),
        Field(id: 41, name: "guard-sample-maximum", range: 1...60, path: \.guardSampleMaximum),
        Field(id: 42, name: "guard-primary-count", range: 1...10, path: \.guardPrimaryCount),
        Field(
            id: 43,
            name: "guard-lifetime-seconds",
            range: 60...year,
            path: \.guardLifetimeSeconds
        ),
        Field(
            id: 44,
            name: "guard-confirmed-seconds",
            range: 60...year,
            path: \.guardConfirmedSeconds
        ),
        Field(
            id: 45,
            name: "guard-unlisted-seconds",
            range: 60...year,
            path: \.guardUnlistedSeconds
        ),
        Field(id: 46, name: "guard-retry-seconds", range: 1...day, path: \.guardRetrySeconds),
        Field(id: 47, name: "middle-set-count", range: 1...16, path: \.middleSetCount),
        Field(
            id: 48,
            name: "middle-minimum-seconds",
            range: 60...year,
            path: \.middleMinimumSeconds
        ),
        Field(
            id: 49,
            name: "middle-maximum-seconds",
            range: 60...year,
            path: \.middleMaximumSeconds
        ),
        Field(
            id: 50,
            name: "measure-seconds",
            range: 0...month,
            isLater: true,
            path: \.measureSeconds
        ),
        Field(
            id: 51,
            name: "measure-cells",
            range: 256...1_048_576,
            isLater: true,
            path: \.measureCells
        ),
        Field(
            id: 52,
            name: "measure-milliseconds",
            range: 100...30_000,
            isLater: true,
            path: \.measureMilliseconds
        ),
        Field(
            id: 53,
            name: "weight-growth-seconds",
            range: 10...year,
            isLater: true,
            path: \.weightGrowthSeconds
        ),
        Field(id: 60, name: "minute-window", range: 1...60, path: \.minuteWindow),
        Field(id: 70, name: "mix-hold-minimum-slots", range: 5...63, path: \.mixHoldMinimumSlots),
        Field(id: 71, name: "mix-hold-limit-slots", range: 6...64, path: \.mixHoldLimitSlots),
        Field(id: 72, name: "recovery-data-cells", range: 4...4, path: \.recoveryDataCells),
        Field(id: 73, name: "recovery-parity-cells", range: 1...1, path: \.recoveryParityCells),
        Field(id: 74, name: "mix-slot", range: 250...2_000, isLater: true, path: \.mixSlot),
    ]

    private static let day: UInt32 = 86_400
    private static let month: UInt32 = 30 * day
    private static let year: UInt32 = 366 * day
}

extension Bool {
    /// The truth value as a parameter writes it.
    fileprivate var number: UInt32 {
        get { self ? 1 : 0 }
        set { self = newValue != 0 }
    }
}
