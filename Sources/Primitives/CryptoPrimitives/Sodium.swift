import CSodium

/// libsodium, initialised at first use.
enum Sodium {
    private static let isInitialized = sodium_init() >= 0

    /// Initialises the library unless that is done; any thread may call it at any time.
    ///
    /// - Precondition: the library can be initialised, which needs a readable system random source.
    static func prepare() {
        precondition(isInitialized, "libsodium could not be initialised")
    }
}

/// Comparisons whose duration tells nothing about the bytes compared.
public enum ConstantTime {
    /// Whether both hold the same bytes; the lengths are not secret.
    public static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        Sodium.prepare()
        guard left.count == right.count else { return false }
        return unsafe sodium_memcmp(left, right, left.count) == 0
    }
}
