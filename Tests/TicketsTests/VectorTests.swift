import Base
import CryptoPrimitives
import Foundation
import TestSupport
import Testing
import Wire

@testable import Tickets

@Suite("Known answers")
struct VectorTests {
    private struct KnownAnswers: Decodable {
        struct Chain: Decodable {
            var N: UInt32
            var w_N: String
            var w_63: String
            var w_1: String
            var w_0: String
        }
        struct Handshake: Decodable {
            var netid: String
            var relay_id: String
        }
        var payword: Chain
        var handshake: Handshake
        var voucher_message: String
    }

    private func answers() throws -> KnownAnswers {
        let url = try #require(
            Bundle.module.url(
                forResource: "umbel_kat",
                withExtension: "json",
                subdirectory: "Vectors"
            )
        )
        return try JSONDecoder().decode(KnownAnswers.self, from: Data(contentsOf: url))
    }

    @Test("the chain of the independent computation")
    func chain() throws {
        let known = try answers().payword
        let chain = PaymentChain(tail: try #require(Bytes32(hex: known.w_N)), count: known.N)
        #expect(chain.place(63).value.hex == known.w_63)
        #expect(chain.place(1).value.hex == known.w_1)
        #expect(chain.root.hex == known.w_0)
        let root = ChainPlace(index: 0, value: chain.root)
        #expect(PaymentChain.leads(chain.place(64), to: root))
        #expect(!PaymentChain.leads(ChainPlace(index: 63, value: chain.place(64).value), to: root))
    }

    @Test("the voucher's bytes of the independent computation")
    func content() throws {
        let known = try answers()
        let expected = try #require([UInt8](hex: known.voucher_message))
        #expect(expected.count == VoucherContent.byteCount)
        let content = VoucherContent(
            network: NetworkID(try #require(Bytes32(hex: known.handshake.netid))),
            epoch: 7,
            denomination: .small,
            relay: NodeID(try #require(Bytes32(hex: known.handshake.relay_id))),
            root: try #require(Bytes32(hex: known.payword.w_0)),
            reclaimCommitment: try #require(Bytes32(Array(expected.suffix(32))))
        )
        #expect(content.encoded == expected)
    }

    private struct BlindVectors: Decodable {
        struct Vector: Decodable {
            var name: String
            var n: String
            var e: String
            var prepared_msg: String
            var sig: String
        }
        var vectors: [Vector]
    }

    @Test("RFC 9474: the signature of the deterministic variant verifies; one changed does not")
    func blindSignature() throws {
        let url = try #require(
            Bundle.module.url(
                forResource: "rfc9474_rsabssa",
                withExtension: "json",
                subdirectory: "Vectors"
            )
        )
        let file = try JSONDecoder().decode(BlindVectors.self, from: Data(contentsOf: url))
        let vector = try #require(
            file.vectors.first { $0.name == "RSABSSA-SHA384-PSS-Deterministic" }
        )
        let verify = try BlindRSA.verifier(
            modulus: try #require([UInt8](hex: vector.n)),
            exponent: try #require([UInt8](hex: vector.e))
        )
        let message = try #require([UInt8](hex: vector.prepared_msg))
        var signature = try #require([UInt8](hex: vector.sig))
        #expect(verify(signature, message))
        #expect(!verify(signature, message + [0]))
        signature[100] ^= 1
        #expect(!verify(signature, message))
    }

    @Test("blinding stored and read again still comes off; another key's signature is refused")
    func openers() throws {
        let (one, other) = (try BlindRSA.PrivateKey(), try BlindRSA.PrivateKey())
        let key = try one.publicKey()
        let message = Array("a voucher".utf8)
        let (blinded, opener) = try key.blind(message)
        let kept = BlindRSA.Opener(bytes: opener.bytes)
        let signature = try key.finalize(try one.blindSign(blinded), of: message, with: kept)
        #expect(key.isValid(signature, of: message))
        #expect(throws: CryptoError.authenticationFailure) {
            _ = try key.finalize(try other.blindSign(blinded), of: message, with: kept)
        }
        #expect(throws: CryptoError.authenticationFailure) {
            _ = try key.finalize(
                try one.blindSign(blinded),
                of: message,
                with: BlindRSA.Opener(bytes: [1, 2, 3])
            )
        }
        #expect(try BlindRSA.PublicKey(der: key.der) == key)
        #expect(throws: CryptoError.invalidPublicKey) { _ = try BlindRSA.PublicKey(der: [0x30]) }
    }

    @Test("a sealed request is opened by its addressee alone, its answer by its sender alone")
    func sealedRequests() throws {
        let key = Secret(copying: (0..<32).map { UInt8($0 + 1) })
        let request = Array("how much?".utf8)
        let (bytes, sender) = try SealedRequest.seal(
            request,
            to: X25519.PrivateKey(key).publicKey
        )
        #expect(bytes.count == request.count + SealedRequest.overheadByteCount)
        let (opened, addressee) = try SealedRequest.open(bytes, with: key)
        #expect(opened == request)
        let nonce = [UInt8](repeating: 9, count: 32)
        let answer = try SealedRequest.seal(answer: [1, 2], nonce: nonce, with: addressee)
        #expect(try SealedRequest.open(answer: answer, with: sender) == [1, 2])
        let (_, stranger) = try SealedRequest.seal(request, to: X25519.PrivateKey(key).publicKey)
        #expect(throws: CryptoError.authenticationFailure) {
            _ = try SealedRequest.open(answer: answer, with: stranger)
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            #expect(throws: CryptoError.authenticationFailure) {
                _ = try SealedRequest.open(changed, with: key)
            }
        }
    }
}
