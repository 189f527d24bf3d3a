import Base
import CryptoPrimitives
import Foundation
import TestSupport
import Testing
import Wire

@testable import Onion

extension Tag {
    @Tag static var vectors: Self
}

/// The handshake an independent program computed (`Vectors/umbel_kat.py`).
private struct KnownHandshake: Decodable {
    let role, suite: UInt8
    let proto: String
    let netid, relay_id, x_sk, y_sk, X, Y, ee, CM, SM: Hex
    let h0, h1, h2, h3, h4, prk0, prk1: Hex
    let k_cm, c_cm, early_fwd, early_bwd, k_sm, c_sm, k_fwd, k_bwd, exporter: Hex
    let xwing_vector: Int

    static func read() throws -> Self {
        struct File: Decodable {
            let handshake: KnownHandshake
        }
        return try Vectors.read(File.self, named: "umbel_kat", from: .module).handshake
    }
}

/// The encapsulation the handshake was computed with.
private struct KnownEncapsulation: Decodable {
    let seed, ss, pk, ct: Hex

    static func read(at index: Int) throws -> Self {
        struct File: Decodable {
            let vectors: [KnownEncapsulation]
        }
        return try Vectors.read(File.self, named: "xwing", from: .module).vectors[index]
    }
}

@Suite("The handshake against an independent computation", .tags(.vectors))
struct HandshakeVectorTests {
    private let known: KnownHandshake
    private let kem: KnownEncapsulation
    private let target: HandshakeTarget

    init() throws {
        known = try KnownHandshake.read()
        kem = try KnownEncapsulation.read(at: known.xwing_vector)
        target = HandshakeTarget(
            role: try #require(HandshakeRole(rawValue: known.role)),
            network: NetworkID(try known.netid.bytes32()),
            relay: NodeID(try known.relay_id.bytes32()),
            publicKey: kem.pk.bytes
        )
    }

    private func client() -> ClientHandshake {
        ClientHandshake(
            target: target,
            ephemeral: known.x_sk.secret,
            ciphertext: kem.ct.bytes,
            sharedSecret: kem.ss.secret,
            message: { _ in known.CM.bytes }
        )
    }

    @Test("h0 binds protocol, role, suite, network, relay and key as computed")
    func bindsTarget() throws {
        #expect(target.transcript.bytes == known.h0.bytes)
        #expect(HandshakeTarget.suite == known.suite)
        let digest = SHA256.digest(kem.pk.bytes).bytes
        #expect(target.keyID == digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
        #expect(HandshakeTarget.keyID(of: kem.pk.bytes) == target.keyID)
    }

    @Test("the key schedule gives every key as computed")
    func schedule() throws {
        let first = HKDF.extract(salt: known.h1.bytes, inputKeyMaterial: kem.ss.secret)
        #expect(first.exposed == known.prk0.bytes)
        #expect(KeySchedule.messageKey(first).exposed == known.k_cm.bytes)
        let early = KeySchedule.early(first, transcript: try known.h2.bytes32())
        #expect(early.forward.exposed == known.early_fwd.bytes)
        #expect(early.backward.exposed == known.early_bwd.bytes)
        let second = KeySchedule.second(
            first,
            transcript: try known.h2.bytes32(),
            ephemeral: known.ee.secret
        )
        #expect(second.exposed == known.prk1.bytes)
        let answerKey = KeySchedule.answerKey(second, transcript: try known.h3.bytes32())
        #expect(answerKey.exposed == known.k_sm.bytes)
        let keys = KeySchedule.keys(second, transcript: try known.h4.bytes32())
        #expect(keys.forward.exposed == known.k_fwd.bytes)
        #expect(keys.backward.exposed == known.k_bwd.bytes)
        #expect(keys.exporter.exposed == known.exporter.bytes)
    }

    @Test("the client's first message and early keys are as computed")
    func clientStarts() throws {
        let client = client()
        #expect(client.signedTranscript.bytes == known.h1.bytes)
        #expect(client.body.keyID == target.keyID)
        #expect(client.body.publicKey.bytes == known.X.bytes)
        #expect(client.body.ciphertext == kem.ct.bytes)
        #expect(client.body.sealedMessage == known.c_cm.bytes)
        #expect(client.body.encoded.count == CreateBody.circuitByteCount)
        #expect(client.early.forward.exposed == known.early_fwd.bytes)
        #expect(client.early.backward.exposed == known.early_bwd.bytes)
    }

    @Test("the relay opens the computed message and answers as computed")
    func serverAnswers() throws {
        let server = try ServerHandshake(
            opening: client().body,
            target: target,
            key: XWing.PrivateKey(seed: kem.seed.secret)
        )
        #expect(server.message == known.CM.bytes)
        #expect(server.signedTranscript.bytes == known.h1.bytes)
        #expect(server.early.forward.exposed == known.early_fwd.bytes)
        let (answer, keys) = try server.respond(
            with: known.SM.bytes,
            ephemeral: known.y_sk.secret
        )
        #expect(answer.publicKey.bytes == known.Y.bytes)
        #expect(answer.sealedMessage == known.c_sm.bytes)
        #expect(answer.encoded.count == CreatedBody.byteCount)
        #expect(keys.transcript.bytes == known.h4.bytes)
        #expect(keys.forward.exposed == known.k_fwd.bytes)
        #expect(keys.backward.exposed == known.k_bwd.bytes)
        #expect(keys.exporter.exposed == known.exporter.bytes)
    }

    @Test("the client finishes with the computed answer and gets the computed keys")
    func clientFinishes() throws {
        let answer = CreatedBody(
            publicKey: try known.Y.bytes32(),
            sealedMessage: known.c_sm.bytes
        )
        let (keys, message) = try client().finish(answer)
        #expect(message == known.SM.bytes)
        #expect(keys.transcript.bytes == known.h4.bytes)
        #expect(keys.forward.exposed == known.k_fwd.bytes)
        #expect(keys.backward.exposed == known.k_bwd.bytes)
        #expect(keys.exporter.exposed == known.exporter.bytes)
    }

    @Test("the computed messages are the layouts Wire reads")
    func layouts() throws {
        let message = try ClientMessage(parsing: known.CM.bytes)
        #expect(message.hop == 1)
        #expect(message.minute == 29_000_000)
        #expect(message.encoded == known.CM.bytes)
        #expect(try ServerMessage(parsing: known.SM.bytes).status == .accepted)
    }
}
