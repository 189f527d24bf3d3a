public import Base
import CLinux
public import EventLoop
import Foundation

/// Asks a resolver whether it lives, over UDP; owned by one thread, readable when an answer is there.
public struct ResolverSocket: ~Copyable {
    private let socket: OwnedDescriptor
    private var number: UInt16 = 0

    /// Makes a socket that talks to the resolver at `address` alone.
    ///
    /// - Throws: ``IOError`` where the machine has no way to it.
    public init(_ address: SocketAddress) throws(IOError) {
        let isV6 = !address.ip.isV4
        // An IPv4 address is held v4-mapped: its own bytes are the last four.
        let octets = Array(address.ip.bytes.suffix(isV6 ? 16 : 4))
        socket = try OwnedDescriptor(
            unsafe clinux_udp_connected(isV6, octets, address.port),
            "ask",
            "\(address)"
        )
    }

    /// What to watch for readability.
    public var descriptor: CInt { socket.number }

    /// Asks once more; earlier questions are forgotten.
    public mutating func ask() {
        number &+= 1
        let question = ResolverQuestion.bytes(number)
        // What cannot be sent is a question that is not answered.
        _ = unsafe send(socket.number, question, question.count, 0)
    }

    /// Takes what came; whether the last question is answered.
    public mutating func takeAnswer() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1_500)
        var isAnswered = false
        while true {
            let count = unsafe recv(socket.number, &buffer, buffer.count, 0)
            guard count >= 0 else { return isAnswered }
            let answer = Array(buffer.prefix(count))
            if ResolverQuestion.isAnswered(by: answer, number: number) { isAnswered = true }
        }
    }
}
