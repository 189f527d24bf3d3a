/// An IPv4 or IPv6 address; IPv4 is held as its v4-mapped form `::ffff:a.b.c.d`.
public struct IPAddress: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// The first eight bytes, big-endian.
    public var high: UInt64
    /// The last eight bytes, big-endian.
    public var low: UInt64

    /// Makes the address with these 16 bytes.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes the IPv4 address whose four bytes are `v4`, big-endian.
    public init(v4: UInt32) {
        self.init(high: 0, low: 0x0000_ffff_0000_0000 | UInt64(v4))
    }

    /// Whether this is an IPv4 address.
    public var isV4: Bool {
        high == 0 && low >> 32 == 0xffff
    }

    /// The four bytes of an IPv4 address, big-endian; `nil` for IPv6.
    public var v4: UInt32? {
        isV4 ? UInt32(truncatingIfNeeded: low) : nil
    }

    /// The 16 bytes.
    public var bytes: [UInt8] {
        [high, low].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
        }
    }

    /// Whether `lhs` sorts before `rhs`, by their 16 bytes.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.high, lhs.low) < (rhs.high, rhs.low)
    }
}

extension IPAddress: CustomStringConvertible {
    /// Reads dotted-quad IPv4 or RFC 4291 IPv6 text; `nil` for anything else (no zones).
    public init?(_ text: some StringProtocol) {
        if let v4 = Self.parseV4(text) {
            self.init(v4: v4)
            return
        }
        var groups: [UInt16] = []
        var gap: Int?
        let halves = text.split(separator: "::", omittingEmptySubsequences: false)
        guard text.contains(":"), halves.count <= 2 else { return nil }
        for (index, half) in halves.enumerated() {
            if index == 1 { gap = groups.count }
            guard !half.isEmpty else {
                if halves.count == 1 { return nil }
                continue
            }
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (position, part) in parts.enumerated() {
                let isLast = index == halves.count - 1 && position == parts.count - 1
                if isLast, let v4 = Self.parseV4(part) {
                    groups.append(UInt16(truncatingIfNeeded: v4 >> 16))
                    groups.append(UInt16(truncatingIfNeeded: v4))
                } else {
                    guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
                        let group = UInt16(part, radix: 16)
                    else { return nil }
                    groups.append(group)
                }
            }
        }
        if let gap {
            guard groups.count <= 7 else { return nil }
            groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        self.init(
            high: groups[..<4].reduce(0) { $0 << 16 | UInt64($1) },
            low: groups[4...].reduce(0) { $0 << 16 | UInt64($1) }
        )
    }

    private static func parseV4(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var address: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
                part.utf8.count == 1 || part.utf8.first != 48,
                let byte = UInt8(part)
            else { return nil }
            address = address << 8 | UInt32(byte)
        }
        return address
    }

    /// The address as text: dotted quad, or IPv6 as RFC 5952 writes it.
    public var description: String {
        if let v4 {
            return "\(v4 >> 24).\(v4 >> 16 & 255).\(v4 >> 8 & 255).\(v4 & 255)"
        }
        let groups = (0..<8).map { index -> UInt16 in
            UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (48 - 16 * UInt64(index & 3)))
        }
        var best = 0..<0
        var start: Int?
        for index in 0...8 {
            if index < 8, groups[index] == 0 {
                start = start ?? index
            } else if let from = start {
                if index - from > best.count { best = from..<index }
                start = nil
            }
        }
        let text = { (range: Range<Int>) in
            range.map { String(groups[$0], radix: 16) }.joined(separator: ":")
        }
        guard best.count >= 2 else { return text(0..<8) }
        return text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

/// An address and a UDP or TCP port.
public struct SocketAddress: Hashable, Sendable, BitwiseCopyable {
    /// The address.
    public var ip: IPAddress
    /// The port.
    public var port: UInt16

    /// Makes the socket address of `port` at `ip`.
    public init(ip: IPAddress, port: UInt16) {
        self.ip = ip
        self.port = port
    }
}

extension SocketAddress: CustomStringConvertible {
    /// Reads `192.0.2.1:4433` or `[2001:db8::1]:4433`; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        let host = text[..<colon]
        if host.first == "[", host.last == "]" {
            guard let ip = IPAddress(host.dropFirst().dropLast()), !ip.isV4 else { return nil }
            self.init(ip: ip, port: port)
        } else {
            guard let ip = IPAddress(host), ip.isV4 else { return nil }
            self.init(ip: ip, port: port)
        }
    }

    /// The address as `192.0.2.1:4433` or `[2001:db8::1]:4433`.
    public var description: String {
        ip.isV4 ? "\(ip):\(port)" : "[\(ip)]:\(port)"
    }
}

/// A network as address and prefix length, such as `198.51.100.0/24` or `2001:db8::/32`.
public struct IPNetwork: Hashable, Sendable, BitwiseCopyable {
    /// The network's first address.
    public var base: IPAddress
    /// Leading bits that count, of 128; an IPv4 prefix of n bits is 96 + n here.
    public var prefixBitCount: Int

    /// Whether `address` lies in the network.
    public func contains(_ address: IPAddress) -> Bool {
        Self.masked(address, prefixBitCount) == base
    }

    /// The network of the first `prefixBitCount` (of 128) bits of `address`.
    public init(_ address: IPAddress, prefixBitCount: Int) {
        precondition((0...128).contains(prefixBitCount), "prefix out of range")
        base = Self.masked(address, prefixBitCount)
        self.prefixBitCount = prefixBitCount
    }

    /// The prefix length as it is written for the address family.
    public var familyPrefixBitCount: Int {
        base.isV4 && prefixBitCount >= 96 ? prefixBitCount - 96 : prefixBitCount
    }

    private static func masked(_ address: IPAddress, _ count: Int) -> IPAddress {
        let high = count >= 64 ? UInt64.max : ~(UInt64.max >> UInt64(count))
        let low =
            count <= 64 ? 0 : (count == 128 ? UInt64.max : ~(UInt64.max >> UInt64(count - 64)))
        return IPAddress(high: address.high & high, low: address.low & low)
    }
}

extension IPNetwork: CustomStringConvertible {
    /// Reads `address/length`, or an address alone as the network of just that one.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let address = IPAddress(first) else {
            return nil
        }
        let width = address.isV4 ? 32 : 128
        var length = width
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...width).contains(given) else { return nil }
            length = given
        }
        self.init(address, prefixBitCount: address.isV4 ? 96 + length : length)
    }

    /// The network as `address/length`.
    public var description: String {
        "\(base)/\(familyPrefixBitCount)"
    }
}
