import Base
import ControlAPI
import CryptoPrimitives

/// Keys a node wrote down on request, by which its own datagrams can be read.
///
/// Lines of words: `link SID_HERE SID_THERE SEND_HEADER SEND_BODY RECEIVE_HEADER RECEIVE_BODY` for a
/// session, with `sid`s of 8 and keys of 64 hexadecimal digits, and `layer HOP EPOCH FORWARD BACKWARD`
/// for a hop's layer, a dash where there is no key. What begins with # is skipped.
struct RevealedKeys {
    /// The keys of a link's session.
    struct Link {
        var local: UInt32
        var remote: UInt32
        var sendHeader: Secret
        var sendBody: Secret
        var receiveHeader: Secret
        var receiveBody: Secret
    }

    /// A key of one layer one way.
    struct Layer {
        var hop: UInt8
        var epoch: UInt8
        var isForward: Bool
        var key: Secret
    }

    private(set) var links: [Link] = []
    private(set) var layers: [Layer] = []

    /// No keys: only what is in clear can be read.
    init() {}

    /// Reads the lines of `text`.
    ///
    /// - Throws: ``Failure`` naming the line that is none.
    init(_ text: String, name: String) throws(Failure) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let words = line.split(separator: " ").map(String.init)
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            guard add(words) else {
                throw Failure(
                    "\(name) is no file of keys",
                    why: "line \(index + 1) is neither a link nor a layer",
                    hint: "take the file a node wrote with --reveal-keys",
                    exit: .usage
                )
            }
        }
    }

    private mutating func add(_ words: [String]) -> Bool {
        switch words.first {
        case "link" where words.count == 7:
            let keys = words[3...].compactMap(Self.key)
            guard let local = UInt32(words[1], radix: 16), let remote = UInt32(words[2], radix: 16),
                keys.count == 4
            else { return false }
            links.append(
                Link(
                    local: local,
                    remote: remote,
                    sendHeader: keys[0],
                    sendBody: keys[1],
                    receiveHeader: keys[2],
                    receiveBody: keys[3]
                )
            )
        case "layer" where words.count == 5:
            guard let hop = UInt8(words[1]), (1...3).contains(hop), let epoch = UInt8(words[2]),
                epoch < 4
            else { return false }
            for (word, isForward) in [(words[3], true), (words[4], false)] where word != "-" {
                guard let key = Self.key(word) else { return false }
                layers.append(Layer(hop: hop, epoch: epoch, isForward: isForward, key: key))
            }
        default:
            return false
        }
        return true
    }

    private static func key(_ word: String) -> Secret? {
        guard word.count == 64, let bytes = [UInt8](hex: word) else { return nil }
        return Secret(copying: bytes)
    }
}
