public import Base
public import Wire

/// What is known of addresses by the range they lie in.
///
/// Ranges do not overlap; where some do, the one that begins last counts.
public struct AddressTable<Value: Sendable>: Sendable {
    private struct Range: Sendable {
        var first: IPAddress
        var last: IPAddress
        var value: Value
    }

    private var ranges: [Range] = []

    /// Starts with no range: nothing is known.
    public init() {}

    /// Ranges known.
    public var count: Int {
        ranges.count
    }

    /// Adds the ranges of `text`: lines `first,last,value`, with commas or tabs, and the addresses
    /// IPv4 numbers or text.
    ///
    /// Comments, and lines whose value `read` makes nothing of, are passed over; what follows the
    /// value counts for nothing.
    /// - Returns: the number of the first line that is neither; `nil` when all could be read.
    private mutating func add(_ text: String, read: (Substring) -> Value?) -> Int? {
        var firstBad: Int?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            guard let start = line.first, start != "#" else { continue }
            let parts = line.split(omittingEmptySubsequences: false) { $0 == "," || $0 == "\t" }
            guard parts.count >= 3, let first = Self.address(parts[0]),
                let last = Self.address(parts[1]), first <= last
            else {
                firstBad = firstBad ?? number + 1
                continue
            }
            guard let value = read(parts[2]) else { continue }
            ranges.append(Range(first: first, last: last, value: value))
        }
        ranges.sort { $0.first < $1.first }
        return firstBad
    }

    /// What is known of `address`; `nil` when no range holds it.
    ///
    /// Logarithmic in the number of ranges.
    public subscript(address: IPAddress) -> Value? {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].first <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address <= ranges[low - 1].last else { return nil }
        return ranges[low - 1].value
    }

    private static func address(_ text: Substring) -> IPAddress? {
        if let number = UInt32(text) { return IPAddress(v4: number) }
        return IPAddress(text)
    }
}

extension AddressTable<CountryCode> {
    /// Adds ranges as Debian's geographic tables list them, lines `first,last,CC`.
    ///
    /// "??" stands for a place nobody knows.
    /// - Returns: the number of the first line that is no range; `nil` when all could be read.
    @discardableResult
    public mutating func add(_ text: String) -> Int? {
        add(text) { CountryCode($0.prefix(2)) }
    }
}

extension AddressTable<UInt32> {
    /// Adds ranges with the number of their autonomous system, `64500` or `AS64500`; 0 stands for
    /// none.
    ///
    /// - Returns: the number of the first line that is no range; `nil` when all could be read.
    @discardableResult
    public mutating func add(_ text: String) -> Int? {
        add(text) { field in
            let digits = field.hasPrefix("AS") ? field.dropFirst(2) : field
            return UInt32(digits).flatMap { $0 == 0 ? nil : $0 }
        }
    }
}

/// Where addresses are: in which country, and in whose network.
public struct PlaceTable: Sendable {
    /// The country an address stands in.
    public var countries = AddressTable<CountryCode>()
    /// The number of the autonomous system an address belongs to, never 0.
    public var systems = AddressTable<UInt32>()

    /// Knows no place.
    public init() {}
}
