/// The numbers every node of a network works with; the consensus carries them (§J).
///
/// Starts as the public network has them; set single ones for another network. Each has a number,
/// a name and a range in ``fields``, from which the document and configuration files are read.
/// Layout: `count u16 | count x (number u16 | value u32)`, ascending by number; numbers this
/// version does not know are kept in ``unknown`` and written back.
public struct NetworkParameters: Hashable, Sendable {
    /// Seconds from one consensus to the next.
    public var intervalSeconds: UInt32 = 3_600
    /// Seconds a consensus is fresh.
    public var freshSeconds: UInt32 = 3_600
    /// Seconds a consensus holds.
    public var validSeconds: UInt32 = 3 * 3_600
    /// Seconds a descriptor counts after it was published.
    public var descriptorSeconds: UInt32 = 86_400
    /// Seconds from one circuit key of a relay to the next one.
    public var circuitKeySeconds: UInt32 = 86_400
    /// Leading bits of IPv4 two relays of a path may not share; 0 turns the rule off.
    public var subnetPrefixV4: UInt32 = 16
    /// Leading bits of IPv6 two relays of a path may not share; 0 turns the rule off.
    public var subnetPrefixV6: UInt32 = 32
    /// Whether guard and exit must stand in different countries where both are known.
    public var guardExitCountriesDiffer = true
    /// Whether relays carry only what is paid for.
    public var paymentsRequired = true
    /// Cells one tick pays for at guard and middle.
    public var tickCells: UInt32 = 256
    /// Cells one tick pays for at the exit.
    public var exitTickCells: UInt32 = 128
    /// Seconds of one ticket epoch.
    public var ticketEpochSeconds: UInt32 = 7 * 86_400
    /// Thousandths of a deposit that are burnt.
    public var burnPerMille: UInt32 = 20
    /// Mints of the network, whether or not all of them are there; 3f + 1.
    public var mintCount: UInt32 = 4
    /// Version of the set of mints that sign the vouchers of this epoch.
    public var mintSetVersion: UInt32 = 0
    /// Seconds from one deposit of a relay to the next, on average.
    public var depositSeconds: UInt32 = 86_400
    /// Trial and small vouchers of one purchase: a wallet always buys so many at once.
    public var voucherBatch: UInt32 = 32
    /// Bytes of every datagram.
    public var datagramByteCount: UInt32 = 1_392
    /// Guards a client samples, where there are that many.
    public var guardSampleMinimum: UInt32 = 20
    /// Guards a client's sample never goes beyond.
    public var guardSampleMaximum: UInt32 = 60
    /// Guards of the sample a client tries before any other.
    public var guardPrimaryCount: UInt32 = 3
    /// Seconds a guard stays in the sample.
    public var guardLifetimeSeconds: UInt32 = 120 * 86_400
    /// Seconds a guard stays once it was used, if that is longer.
    public var guardConfirmedSeconds: UInt32 = 60 * 86_400
    /// Seconds after which a guard no consensus lists is removed.
    public var guardUnlistedSeconds: UInt32 = 20 * 86_400
    /// The longest wait, in seconds, before a guard that is down is tried again.
    public var guardRetrySeconds: UInt32 = 600
    /// Middles a client keeps.
    public var middleSetCount: UInt32 = 4
    /// The shortest time, in seconds, a client keeps a middle.
    public var middleMinimumSeconds: UInt32 = 86_400
    /// The longest time, in seconds, a client keeps a middle.
    public var middleMaximumSeconds: UInt32 = 12 * 86_400
    /// Seconds in which an authority measures each relay once; 0 turns measuring off.
    public var measureSeconds: UInt32 = 86_400
    /// The most cells one measurement takes.
    public var measureCells: UInt32 = 65_536
    /// The most milliseconds one measurement takes.
    public var measureMilliseconds: UInt32 = 3_000
    /// Seconds in which what a relay counts for may double.
    public var weightGrowthSeconds: UInt32 = 7 * 86_400
    /// Minutes a handshake's clock may differ from the relay's.
    public var minuteWindow: UInt32 = 2
    /// The shortest hold at the middle of a `mix` circuit, in slots.
    public var mixHoldMinimumSlots: UInt32 = 5
    /// Holds at the middle of a `mix` circuit are shorter than this, in slots.
    public var mixHoldLimitSlots: UInt32 = 25
    /// Data cells of a group protected against loss.
    public var recoveryDataCells: UInt32 = 4
    /// Further cells that protect such a group.
    public var recoveryParityCells: UInt32 = 1
    /// Slot length of `mix` circuits whose user asks for none, in tens of microseconds.
    public var mixSlot: UInt32 = 1_000
    /// Parameters this version does not know, ascending by number.
    public var unknown: [Unknown] = []
    /// Numbers of ``Field/isLater`` parameters a document of an older version lacks, ascending.
    ///
    /// They have their default values, and are not written.
    public var absent: [UInt16] = []

    /// A parameter this version does not know.
    public struct Unknown: Hashable, Sendable {
        /// Its number.
        public let id: UInt16
        /// Its value.
        public let value: UInt32

        /// Takes number and value over.
        public init(id: UInt16, value: UInt32) {
            self.id = id
            self.value = value
        }
    }

    /// The parameters of the public network.
    public init() {}

    /// The parameters of the public network.
    public static let production = Self()

    /// Parameters for a whole network on one machine: short times, narrow subnets.
    ///
    /// A consensus signed by hand needs a longer ``validSeconds`` than the live one's 30.
    public static let lab: Self = {
        var parameters = Self()
        parameters.intervalSeconds = 10
        parameters.freshSeconds = 10
        parameters.validSeconds = 30
        parameters.ticketEpochSeconds = 600
        parameters.measureSeconds = 60
        parameters.measureCells = 1_024
        parameters.measureMilliseconds = 500
        parameters.weightGrowthSeconds = 30
        parameters.depositSeconds = 60
        parameters.subnetPrefixV4 = 24
        parameters.subnetPrefixV6 = 48
        return parameters
    }()

    /// Parameters a document may carry, unknown ones included.
    public static let maximumCount = 256

    /// Checks every value's range and how they relate.
    ///
    /// - Throws: ``WireError/invalid(field:)`` with the parameter's name.
    public func validate() throws(WireError) {
        for field in Self.fields where !field.range.contains(self[keyPath: field.path]) {
            throw .invalid(field: field.name)
        }
        guard freshSeconds <= validSeconds else { throw .invalid(field: "valid-seconds") }
        guard guardPrimaryCount <= guardSampleMinimum, guardSampleMinimum <= guardSampleMaximum
        else { throw .invalid(field: "guard-sample-minimum") }
        guard middleMinimumSeconds <= middleMaximumSeconds else {
            throw .invalid(field: "middle-maximum-seconds")
        }
        guard mixHoldMinimumSlots < mixHoldLimitSlots else {
            throw .invalid(field: "mix-hold-limit-slots")
        }
        guard UInt16(exactly: mixSlot).flatMap({ SlotLength(rawValue: $0) }) != nil else {
            throw .invalid(field: "mix-slot")
        }
        let known = Set(Self.fields.map(\.id))
        guard unknown.count + known.count <= Self.maximumCount,
            unknown.allSatisfy({ !known.contains($0.id) }),
            zip(unknown, unknown.dropFirst()).allSatisfy({ $0.id < $1.id })
        else { throw .invalid(field: "parameters") }
        let later = Self.fields.filter(\.isLater).map(\.id)
        guard absent.allSatisfy(later.contains),
            zip(absent, absent.dropFirst()).allSatisfy({ $0 < $1 })
        else { throw .invalid(field: "parameters") }
    }
}

extension NetworkParameters {
    /// The value of the parameter called `name`, as configuration files write it.
    public subscript(name: String) -> UInt32? {
        Self.fields.first { $0.name.description == name }.map { self[keyPath: $0.path] }
    }

    /// Sets the parameter called `name`; truth values are 0 and 1.
    ///
    /// - Throws: ``WireError/invalid(field:)`` for a name there is not or a value out of range.
    public mutating func set(_ name: String, to value: UInt32) throws(WireError) {
        guard let field = Self.fields.first(where: { $0.name.description == name }) else {
            throw .invalid(field: "parameter name")
        }
        guard field.range.contains(value) else { throw .invalid(field: field.name) }
        self[keyPath: field.path] = value
        absent.removeAll { $0 == field.id }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        let count = Int(try reader.read(UInt16.self))
        guard count <= Self.maximumCount else {
            throw .tooLarge(
                field: "parameters",
                value: UInt64(count),
                limit: UInt64(Self.maximumCount)
            )
        }
        var found: Set<UInt16> = []
        var last: UInt16?
        for _ in 0..<count {
            let id = try reader.read(UInt16.self)
            let value = try reader.read(UInt32.self)
            guard last.map({ $0 < id }) ?? true else { throw .invalid(field: "parameter order") }
            last = id
            if let field = Self.fields.first(where: { $0.id == id }) {
                guard field.range.contains(value) else { throw .invalid(field: field.name) }
                self[keyPath: field.path] = value
                found.insert(id)
            } else {
                unknown.append(Unknown(id: id, value: value))
            }
        }
        let missing = Self.fields.filter { !found.contains($0.id) }
        guard missing.allSatisfy(\.isLater) else { throw .invalid(field: "parameters") }
        absent = missing.map(\.id)
        try validate()
    }

    func write(to writer: inout ByteWriter) throws(WireError) {
        try validate()
        var values = unknown
        for field in Self.fields where !absent.contains(field.id) {
            values.append(Unknown(id: field.id, value: self[keyPath: field.path]))
        }
        values.sort { $0.id < $1.id }
        writer.write(UInt16(truncatingIfNeeded: values.count))
        for value in values {
            writer.write(value.id)
            writer.write(value.value)
        }
    }

    static let maximumByteCount = 2 + maximumCount * 6
}
