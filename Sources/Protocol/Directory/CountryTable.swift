public import Base
public import Wire

/// Which country an address stands in, by ranges as `tor-geoipdb` lists them.
public struct CountryTable: Sendable {
    private struct Range: Sendable {
        var first: IPAddress
        var last: IPAddress
        var country: CountryCode
    }

    private var ranges: [Range] = []

    /// Starts with no range: every country is unknown.
    public init() {}

    /// Ranges known.
    public var count: Int {
        ranges.count
    }

    /// Adds the ranges of `text`: lines `first,last,CC`, the addresses IPv4 numbers or IPv6 text.
    ///
    /// Comments, and lines without a country, are passed over.
    /// - Returns: the number of the first line that is neither; `nil` when all could be read.
    @discardableResult
    public mutating func add(_ text: String) -> Int? {
        var firstBad: Int?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            guard let start = line.first, start != "#" else { continue }
            let parts = line.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count >= 3, let first = Self.address(parts[0]),
                let last = Self.address(parts[1]), first <= last
            else {
                firstBad = firstBad ?? number + 1
                continue
            }
            // "??" stands for an address nobody has placed.
            guard let country = CountryCode(parts[2].prefix(2)) else { continue }
            ranges.append(Range(first: first, last: last, country: country))
        }
        ranges.sort { $0.first < $1.first }
        return firstBad
    }

    /// The country `address` stands in; `nil` when no range holds it.
    ///
    /// Logarithmic in the number of ranges.
    public func country(of address: IPAddress) -> CountryCode? {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].first <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address <= ranges[low - 1].last else { return nil }
        return ranges[low - 1].country
    }

    private static func address(_ text: Substring) -> IPAddress? {
        if let number = UInt32(text) { return IPAddress(v4: number) }
        return IPAddress(text)
    }
}
