import Base
import Glibc

/// One question to a resolver, to see whether it answers at all: for the servers of the root, which
/// says nothing about who asks.
enum NameQuery {
    private static let port: UInt16 = 53
    private static let patienceMilliseconds: Int32 = 2_000

    /// The response code of the answer of `server`, an IPv4 address; `nil` where none comes within
    /// two seconds.
    static func ask(_ server: IPAddress) -> UInt8? {
        guard let v4 = server.v4 else { return nil }
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = v4.bigEndian
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let number = UInt16.random(in: .min ... .max)
        let query = question(number)
        guard isConnected, send(descriptor, query, query.count, 0) == query.count else {
            return nil
        }
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, patienceMilliseconds) > 0 else { return nil }
        var answer = [UInt8](repeating: 0, count: 1_500)
        let count = recv(descriptor, &answer, answer.count, 0)
        return count > 0 ? code(of: Array(answer.prefix(count)), number: number) : nil
    }

    /// The datagram that asks for the root's servers (RFC 1035 §4).
    static func question(_ number: UInt16) -> [UInt8] {
        let isRecursive: UInt8 = 1
        return [UInt8(number >> 8), UInt8(truncatingIfNeeded: number), isRecursive, 0]
            + [0, 1, 0, 0, 0, 0, 0, 0]  // One question.
            + [0, 0, 2, 0, 1]  // The root, NS, IN.
    }

    /// The response code of `answer` to the question `number`; `nil` where it is no such answer.
    static func code(of answer: [UInt8], number: UInt16) -> UInt8? {
        guard answer.count >= 12, answer[0] == UInt8(number >> 8),
            answer[1] == UInt8(truncatingIfNeeded: number), answer[2] & 0x80 != 0
        else { return nil }
        return answer[3] & 0x0f
    }
}
