import Foundation
import Glibc

/// Asks a daemon's control socket for its status, to learn whether it serves.
struct ControlProbe {
    var socket: String

    /// What came back.
    enum Answer: Hashable {
        /// The daemon answered with this HTTP status and body.
        case response(status: Int, body: String)
        /// Nothing is listening, or it did not answer in time.
        case silence
    }

    /// Asks for `path` and waits at most a second.
    func ask(_ path: String = "/v1/status") -> Answer {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return .silence }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        guard connect(descriptor) else { return .silence }
        let request = "GET \(path) HTTP/1.1\r\nHost: umbel\r\nConnection: close\r\n\r\n"
        let sent = unsafe Array(request.utf8).withUnsafeBytes { bytes in
            unsafe send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == request.utf8.count else { return .silence }
        return Self.parse(receive(descriptor))
    }

    /// What the node of `host` reports at `path`; `subject` ends the sentence "it does not tell …".
    ///
    /// - Throws: ``LabError`` where it does not answer, or says something else.
    func report<Report: Decodable>(
        _ path: String,
        of host: String,
        subject: String
    ) throws(LabError) -> Report {
        guard case .response(200, let body) = ask(path) else {
            throw LabError("\(host) does not tell \(subject)", why: "no answer at \(path)")
        }
        do {
            return try JSONDecoder().decode(Report.self, from: Data(Self.object(in: body).utf8))
        } catch {
            throw LabError("\(host) is not understood", why: "\(error)")
        }
    }

    /// The JSON object in a body, whatever framing stands around it.
    private static func object(in body: String) -> String {
        guard let start = body.firstIndex(of: "{"), let end = body.lastIndex(of: "}") else {
            return body
        }
        return String(body[start...end])
    }

    private func connect(_ descriptor: Int32) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socket.utf8)
        let fits = unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
            guard path.count < target.count else { return false }
            unsafe target.copyBytes(from: path)
            return true
        }
        guard fits else { return false }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe Glibc.connect(
                    descriptor,
                    generic,
                    socklen_t(MemoryLayout<sockaddr_un>.size)
                ) == 0
            }
        }
    }

    /// Everything up to the end of the connection, 1 MiB at most.
    private func receive(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < 1 << 20 {
            let count = unsafe buffer.withUnsafeMutableBytes { target in
                unsafe recv(descriptor, target.baseAddress, target.count, 0)
            }
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func parse(_ text: String) -> Answer {
        let words = text.prefix(while: { $0 != "\r\n" }).split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            return .silence
        }
        let body = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) }
        return .response(status: status, body: body ?? "")
    }
}
