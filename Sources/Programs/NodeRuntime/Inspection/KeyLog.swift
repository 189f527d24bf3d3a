import Base
import ClientCore
import CryptoPrimitives
import Foundation
import Glibc
import Links
import Onion
import RelayCore
import Synchronization
import Wire

/// Writes a node's keys down, for `umbel inspect`: whoever has them reads all it carries.
///
/// Never made unless its operator asks for it, twice. The file must not be there before, and only its
/// owner may read it. Layout: `RevealedKeys` of the program.
public final class KeyLog: Sendable {
    private let descriptor: Int32
    private let lock = Mutex<Void>(())

    /// Makes the file at `path`.
    ///
    /// - Throws: ``IOError``-like text where it is there already, or cannot be made.
    public init(path: String) throws(KeyLogError) {
        descriptor = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw KeyLogError(path: path, reason: unsafe String(cString: strerror(errno)))
        }
        write("# umbel keys 1: whoever has this file reads all this node carried meanwhile")
    }

    deinit {
        Glibc.close(descriptor)
    }

    /// Notes the keys in a client's command.
    func note(_ command: ClientCommand) {
        switch command {
        case .addLink(let link): note(link.session)
        case .renewLink(_, let session): note(session)
        case .setEarly(_, let hop, let key, _): note(hop, epoch: 0, forward: key, backward: nil)
        case .setKeys(_, let hop, let forward, let backward, _):
            note(hop, epoch: 1, forward: forward, backward: backward)
        default: break
        }
    }

    /// Notes the keys in a relay's command.
    func note(_ command: RelayCommand) {
        switch command {
        case .addLink(let link): note(link.session)
        case .renewLink(_, let session): note(session)
        case .installCircuit(let circuit):
            if let early = circuit.early {
                note(circuit.hop, epoch: 0, forward: early.forward, backward: nil)
            }
            note(
                circuit.hop,
                epoch: 1,
                forward: circuit.keys.forward,
                backward: circuit.keys.backward
            )
        default: break
        }
    }

    private func note(_ session: NewSession) {
        let keys = session.keys
        let secrets = [keys.sendHeader, keys.sendBody, keys.receiveHeader, keys.receiveBody]
        let numbers = [session.local, session.remote].map { Self.digits($0.rawValue) }
        write((["link"] + numbers + secrets.map(Self.hex)).joined(separator: " "))
    }

    private func note(_ hop: HopIndex, epoch: Int, forward: Secret, backward: Secret?) {
        let last = backward.map(Self.hex) ?? "-"
        write("layer \(hop.rawValue) \(epoch) \(Self.hex(forward)) \(last)")
    }

    private static func digits(_ number: UInt32) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 8 - text.count) + text
    }

    private static func hex(_ secret: Secret) -> String {
        secret.withBytes { span in
            (0..<span.byteCount).map { span.byte(at: $0) }.hex
        }
    }

    private func write(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        lock.withLock { _ in
            // A line that does not get to the disk costs its owner a look, and nobody anything else.
            _ = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
        }
    }
}

/// Why keys cannot be written down.
public struct KeyLogError: Error, Sendable {
    /// The file.
    public let path: String
    /// Why.
    public let reason: String
}
