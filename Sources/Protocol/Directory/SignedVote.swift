public import Base
public import CryptoPrimitives
public import Wire

/// A vote with the signatures of its author and of those who passed it on.
///
/// Layout (§E.1): that of a document, with the vote for a body and label `ballot` over its SHA-256.
public struct SignedVote: Hashable, Sendable {
    /// What the author says.
    public let vote: DirectoryVote
    /// SHA-256 of the vote's bytes.
    public let digest: Bytes32
    private var frame: ConsensusFrame

    /// The most bytes a signed vote takes.
    public static let maximumByteCount =
        4 + DirectoryVote.maximumByteCount + 1 + ConsensusFrame.maximumSignatureCount * 65

    /// Signs a vote as its author.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` for a field out of bounds.
    public init(
        signing vote: DirectoryVote,
        with key: borrowing Ed25519.SigningKey
    ) throws(DirectoryError) {
        do {
            let body = try vote.encoded()
            let digest = SHA256.digest(body)
            let message = SignatureLabel.ballot.message(network: vote.network, digest.bytes)
            let signature = try ConsensusSignature(index: vote.author, bytes: key.sign(message))
            self.vote = vote
            self.digest = digest
            frame = try ConsensusFrame(body: body, signatures: [signature])
        } catch { throw .malformed(error) }
    }

    /// Reads a signed vote; ``signers(under:)`` says which signatures are good.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)``.
    public init(parsing bytes: [UInt8]) throws(DirectoryError) {
        do {
            frame = try ConsensusFrame(parsing: bytes)
            vote = try DirectoryVote(parsing: frame.body)
        } catch { throw .malformed(error) }
        digest = SHA256.digest(frame.body)
    }

    /// The bytes to hand on.
    public func encoded() -> [UInt8] {
        frame.encoded()
    }

    /// The vote with the signature of the authority `index` under it too.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` beyond 64 signatures.
    public func endorsed(
        by index: UInt8,
        with key: borrowing Ed25519.SigningKey
    ) throws(DirectoryError) -> Self {
        var copy = self
        do {
            let signature = try ConsensusSignature(index: index, bytes: key.sign(signedMessage))
            copy.frame = try ConsensusFrame(
                body: frame.body,
                signatures: frame.signatures + [signature]
            )
        } catch { throw .malformed(error) }
        return copy
    }

    /// Indexes of the authorities whose signature is good; empty unless the author's is among them.
    public func signers(under root: TrustRoot) -> Set<UInt8> {
        guard vote.network == root.network else { return [] }
        var signers: Set<UInt8> = []
        for signature in frame.signatures where !signers.contains(signature.index) {
            guard let authority = root.authority(signature.index),
                Ed25519.isValid(signature.bytes, of: signedMessage, by: authority.key)
            else { continue }
            signers.insert(signature.index)
        }
        return signers.contains(vote.author) ? signers : []
    }

    private var signedMessage: [UInt8] {
        SignatureLabel.ballot.message(network: vote.network, digest.bytes)
    }
}
