import CryptoPrimitives
import Testing

@Suite("Keys from passphrases")
struct PasswordKeyTests {
    @Test("the same passphrase and salt give the same key, any other another one")
    func keys() throws {
        let salt = [UInt8](repeating: 3, count: PasswordKey.saltByteCount)
        let key = try PasswordKey.derive(Array("correct horse".utf8), salt: salt)
        #expect(key.count == 32)
        #expect(try PasswordKey.derive(Array("correct horse".utf8), salt: salt) == key)
        #expect(try PasswordKey.derive(Array("correct horsf".utf8), salt: salt) != key)
        #expect(
            try PasswordKey.derive(
                Array("correct horse".utf8),
                salt: [4] + salt.dropFirst()
            ) != key
        )
    }
}
