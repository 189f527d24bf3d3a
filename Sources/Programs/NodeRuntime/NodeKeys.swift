import Base
public import CryptoPrimitives
public import EventLoop
public import NodeConfiguration

/// The keys of a relay, as its state folder holds them.
public struct RelayKeys: Sendable {
    /// Signs descriptors and links.
    public let identity: Ed25519.SigningKey
    /// Circuits and links are sealed to it.
    public let circuit: XWing.PrivateKey

    private static func identityPath(_ folder: String) -> String { "\(folder)/identity.key" }
    private static func circuitPath(_ folder: String) -> String { "\(folder)/circuit.key" }

    /// Reads the keys in `folder`.
    ///
    /// - Throws: ``ConfigurationError`` where one is missing, unreadable by rule, or none.
    public init(folder: String) throws(ConfigurationError) {
        identity = Ed25519.SigningKey(seed: try KeyFile.read(Self.identityPath(folder)))
        let path = Self.circuitPath(folder)
        do {
            circuit = try XWing.PrivateKey(seed: try KeyFile.read(path))
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw KeyFile.problem(path, why: "it holds no X-Wing key: \(error)")
        }
    }

    /// Draws new keys into `folder`, which is made if it is missing.
    ///
    /// - Throws: ``ConfigurationError`` where keys are there already or cannot be written,
    ///   ``EntropyError`` where the system gives no randomness; then there is no file either.
    public static func create(
        folder: String,
        entropy: SystemEntropy = .kernel
    ) throws {
        try StateFolder.make(folder)
        // Both are drawn before one is written: a file without the other would be in the way.
        let seeds = [try entropy.read(byteCount: 32), try entropy.read(byteCount: 32)]
        for (path, seed) in zip([identityPath(folder), circuitPath(folder)], seeds) {
            try KeyFile.write(seed, to: path)
        }
    }
}

/// The key an operator's relays have in common, by which everybody sees that they are of one family.
public enum FamilyKey {
    /// Draws a new key into `folder`, which is made if it is missing.
    ///
    /// - Throws: ``ConfigurationError`` where a key is there already or cannot be written,
    ///   ``EntropyError`` where the system gives no randomness.
    public static func create(
        folder: String,
        entropy: SystemEntropy = .kernel
    ) throws -> Ed25519.SigningKey {
        try StateFolder.make(folder)
        return Ed25519.SigningKey(
            seed: try KeyFile.create("\(folder)/family.key", entropy: entropy)
        )
    }

    /// Reads the key at `path`.
    ///
    /// - Throws: ``ConfigurationError`` where it is missing, open to others, or none.
    public static func read(_ path: String) throws(ConfigurationError) -> Ed25519.SigningKey {
        Ed25519.SigningKey(seed: try KeyFile.read(path))
    }
}

/// A file with one 32-byte seed as 64 hexadecimal digits.
public enum KeyFile {
    /// Reads the seed at `path`.
    ///
    /// - Throws: ``ConfigurationError`` where it is missing, open to others, or no seed.
    public static func read(_ path: String) throws(ConfigurationError) -> Secret {
        Secret(copying: try bytes(path))
    }

    /// The 32 bytes of the seed at `path`, to be sealed.
    static func bytes(_ path: String) throws(ConfigurationError) -> [UInt8] {
        let text = String(decoding: try SecretFile.read(path), as: UTF8.self)
        guard let seed = [UInt8](hex: String(text.filter { !$0.isWhitespace })), seed.count == 32
        else {
            throw problem(path, why: "it does not hold 64 hexadecimal digits")
        }
        return seed
    }

    /// Draws a seed and writes it to a new file at `path`; returns it.
    ///
    /// - Throws: ``ConfigurationError`` where the file exists or cannot be written,
    ///   ``EntropyError`` where the system gives no randomness; then there is no file.
    public static func create(_ path: String, entropy: SystemEntropy = .kernel) throws -> Secret {
        let seed = try entropy.read(byteCount: 32)
        try write(seed, to: path)
        return Secret(copying: seed)
    }

    static func write(_ seed: [UInt8], to path: String) throws(ConfigurationError) {
        try SecretFile.create(path, Array((seed.hex + "\n").utf8))
    }

    static func problem(_ path: String, why: String) -> ConfigurationError {
        ConfigurationError([
            ConfigurationProblem(
                what: "\(path): not a key",
                why: why,
                hint: "restore it from a backup, or make a new one with `umbel keygen`"
            )
        ])
    }
}

extension RandomGenerator {
    /// A generator seeded by the system.
    ///
    /// - Throws: ``EntropyError`` where the system gives no randomness.
    static func seeded(by entropy: SystemEntropy = .kernel) throws(EntropyError) -> RandomGenerator
    {
        RandomGenerator(seed: Secret(copying: try entropy.read(byteCount: 32)))
    }
}
