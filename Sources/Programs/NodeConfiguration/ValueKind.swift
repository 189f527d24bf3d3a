import Base
import TOMLKit

/// A kind of value a key may hold: how it is read, and how it is described when it is not that.
struct ValueKind<Value: Sendable>: Sendable {
    /// What is expected, as in "a network such as 198.51.100.0/24".
    let expectation: String
    /// The value, or `nil` when it is not of this kind.
    let read: @Sendable (any TOMLValueConvertible) -> Value?
    /// The value as a file says it; ``read`` makes the same of it again.
    let write: @Sendable (Value) -> String

    /// Makes a kind; its values are written as texts, by their descriptions, unless `write` says
    /// otherwise.
    init(
        expectation: String,
        read: @escaping @Sendable (any TOMLValueConvertible) -> Value?,
        write: @escaping @Sendable (Value) -> String = { Text.quoted("\($0)") }
    ) {
        self.expectation = expectation
        self.read = read
        self.write = write
    }
}

extension ValueKind where Value == String {
    /// Any text of at most `limit` bytes.
    static func text(limit: Int) -> Self {
        Self(expectation: "a text of at most \(limit) bytes") { value in
            value.string.flatMap { $0.utf8.count <= limit ? $0 : nil }
        }
    }

    /// The name of a relay: 1 to 19 letters, digits or hyphens.
    static let nickname = Self(expectation: "a name of 1 to 19 letters, digits or hyphens") {
        $0.string.flatMap { Text.isNickname($0) ? $0 : nil }
    }

    /// The name of a network interface.
    static let interface = Self(expectation: "an interface name of 1 to 15 letters or digits") {
        $0.string.flatMap { text in
            (1...15).contains(text.utf8.count) && text.utf8.allSatisfy(Text.isWordByte) ? text : nil
        }
    }

    /// A country by its two capital letters.
    static let country = Self(expectation: "a country as two letters, such as \"DE\"") {
        $0.string.flatMap(Text.country)
    }
}

extension ValueKind where Value == String {
    /// A network, an address or the name of a host.
    static let outside = Self(
        expectation: "a network such as \"192.0.2.0/24\" or a name such as \"www.example.org\""
    ) { value in
        value.string.flatMap { text in
            if IPNetwork(text) != nil { return text }
            let labels = text.split(separator: ".", omittingEmptySubsequences: false)
            let isName = labels.allSatisfy { label in
                (1...63).contains(label.utf8.count)
                    && label.utf8.allSatisfy { byte in
                        (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
                            || byte == 0x2d || byte == 0x5f
                    }
            }
            // All digits would be an address somebody mistyped.
            let isNumber = labels.last?.utf8.allSatisfy { (0x30...0x39).contains($0) } ?? true
            return isName && !isNumber && text.utf8.count <= 253 ? text : nil
        }
    }
}

extension ValueKind where Value == Bool {
    /// `true` or `false`.
    static let flag = Self(expectation: "true or false") {
        $0.bool
    } write: {
        "\($0)"
    }
}

extension ValueKind where Value == Int {
    /// A whole number within `range`.
    static func integer(_ range: ClosedRange<Int>) -> Self {
        Self(expectation: "a whole number from \(range.lowerBound) to \(range.upperBound)") {
            $0.int.flatMap { range.contains($0) ? $0 : nil }
        } write: {
            "\($0)"
        }
    }
}

extension ValueKind where Value == TimeSpan {
    /// A length of time within `range`, in whole `ms`, `s`, `m`, `h` or `d`.
    static func duration(_ range: ClosedRange<TimeSpan>) -> Self {
        let bounds = "\(Text.duration(range.lowerBound)) to \(Text.duration(range.upperBound))"
        return Self(expectation: "a duration from \(bounds), such as \"10s\" or \"5m\"") {
            $0.string.flatMap(Text.timeSpan).flatMap { range.contains($0) ? $0 : nil }
        } write: {
            Text.quoted(Text.duration($0))
        }
    }
}

extension ValueKind where Value == SocketAddress {
    /// An address with its port.
    static let socketAddress = Self(
        expectation: "an address and port such as \"192.0.2.11:4433\" or \"[2001:db8::11]:4433\""
    ) { value in
        value.string.flatMap { SocketAddress($0) }.flatMap { $0.port == 0 ? nil : $0 }
    }
}

extension ValueKind where Value == IPAddress {
    /// An address alone.
    static let address = Self(expectation: "an address such as \"198.51.100.53\"") { value in
        value.string.flatMap { IPAddress($0) }
    }
}

extension ValueKind where Value == IPNetwork {
    /// A network of either family.
    static let network = Self(expectation: "a network such as \"198.51.100.0/24\"") { value in
        value.string.flatMap { IPNetwork($0) }
    }

    /// A pool of IPv4 addresses, 4 to 2^22 of them.
    static let ipv4Pool = Self(
        expectation: "an IPv4 network of prefix length 10 to 30, such as \"100.64.0.0/16\""
    ) { value in
        value.string.flatMap { IPNetwork($0) }.flatMap { network in
            network.base.isV4 && (10...30).contains(network.familyPrefixBitCount) ? network : nil
        }
    }

    /// A pool of IPv6 addresses.
    static let ipv6Pool = Self(
        expectation:
            "an IPv6 network of prefix length 32 to 112, such as \"fd75:6d62:656c:e::/64\""
    ) { value in
        value.string.flatMap { IPNetwork($0) }.flatMap { network in
            !network.base.isV4 && (32...112).contains(network.prefixBitCount) ? network : nil
        }
    }
}

extension ValueKind where Value == Bytes32 {
    /// 32 bytes as hexadecimal digits.
    static let bytes32 = Self(expectation: "64 hexadecimal digits") { value in
        value.string.flatMap { Bytes32(hex: $0) }
    } write: {
        Text.quoted($0.hex)
    }
}

extension ValueKind where Value == ClosedRange<UInt16> {
    /// One port, a range of ports or all of them.
    static let ports = Self(
        expectation: "ports such as \"443\", \"1000-2000\" or \"*\" for all"
    ) { value in
        value.string.flatMap(Text.ports)
    } write: {
        Text.quoted(Text.ports($0))
    }
}

extension ValueKind {
    /// A list of at most `limit` values of `kind`.
    static func list<Element>(_ kind: ValueKind<Element>, limit: Int) -> Self
    where Value == [Element] {
        Self(expectation: "a list of at most \(limit), each \(kind.expectation)") { value in
            guard let array = value.array, array.count <= limit else { return nil }
            var elements: [Element] = []
            for item in array {
                guard let element = kind.read(item) else { return nil }
                elements.append(element)
            }
            return elements
        } write: { elements in
            "[\(elements.map(kind.write).joined(separator: ", "))]"
        }
    }

    /// One of the named cases of `type`.
    static func choice(_ type: Value.Type) -> Self
    where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
        let names = type.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or ")
        return Self(expectation: names) { value in
            value.string.flatMap { Value(rawValue: $0) }
        } write: {
            Text.quoted($0.rawValue)
        }
    }
}
