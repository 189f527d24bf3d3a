public import Base

/// What a node answers over HTTP.
public protocol DirectoryService: Sendable {
    /// The answer to `request`; may be asked from any task, several at a time.
    func answer(_ request: DirectoryRequest) async -> DirectoryAnswer
}

/// Something a node is asked for, or is given.
///
/// Spec: §E.9.
public enum DirectoryRequest: Hashable, Sendable {
    /// `GET /umbel/1/consensus`: the newest document.
    case newest
    /// `GET /umbel/1/consensus/HEX`: the document whose digest begins so, if it is kept.
    case document(digestPrefix: [UInt8])
    /// `GET /umbel/1/diff/HEX`: what leads from the document with this digest to the newest one.
    case diff(from: Bytes32)
    /// `GET /umbel/1/proof`: proof that authorities signed two documents for one interval.
    case proof
    /// `POST /umbel/1/KIND` with this body.
    case post(Post, [UInt8])

    /// What is posted, by the last part of its path.
    public enum Post: String, CaseIterable, Sendable {
        /// A relay's signed descriptor.
        case descriptor
        /// A mint's signed announcement.
        case announcement
        /// A sealed request to a mint; answered with the sealed answer.
        case request
        /// An authority's signed vote.
        case vote
        /// Authorities' signatures.
        case signatures
        /// Digests of descriptors, 32 bytes each; answered with those descriptors.
        case descriptors
        /// Proof that authorities signed two documents for one interval.
        case proof
    }

    /// What every path begins with.
    static let root = "/umbel/1"

    /// The path it is asked by.
    var path: String {
        switch self {
        case .newest: "\(Self.root)/consensus"
        case .document(let prefix): "\(Self.root)/consensus/\(prefix.hex)"
        case .diff(let base): "\(Self.root)/diff/\(base.hex)"
        case .proof: "\(Self.root)/proof"
        case .post(let post, _): "\(Self.root)/\(post.rawValue)"
        }
    }
}

/// What a node answers.
public enum DirectoryAnswer: Hashable, Sendable {
    /// Bytes; `tag` is the digest of the document they are or lead to.
    case bytes([UInt8], tag: Bytes32?)
    /// Taken, with a word for people.
    case accepted(String)
    /// It is not here, or not this node's business.
    case notFound
    /// Refused, for this reason.
    case refused(String)
    /// Not now.
    case unavailable(String)
}

/// How much a server takes.
public struct DirectoryLimits: Hashable, Sendable {
    /// Bytes a posted body may have, by kind.
    public var bodyByteCounts: [DirectoryRequest.Post: Int]
    /// Kinds of which one body is taken at a time, for they may be large; others get 503.
    public var singleBodies: Set<DirectoryRequest.Post> = [.proof]
    /// Connections served at a time; further ones wait.
    public var connectionCount = 256
    /// How long a request may take to come, and its answer to go.
    public var requestTime: Duration = .seconds(10)
    /// How long a connection lives, whatever goes over it.
    public var connectionTime: Duration = .seconds(300)

    /// Takes bodies of the kinds in `bodyByteCounts` only.
    public init(bodyByteCounts: [DirectoryRequest.Post: Int]) {
        self.bodyByteCounts = bodyByteCounts
    }
}
