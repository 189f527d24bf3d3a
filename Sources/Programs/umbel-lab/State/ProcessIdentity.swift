import Foundation
import Glibc

/// A process that cannot be mistaken for a later one of the same number.
struct ProcessIdentity: Codable, Hashable, Sendable {
    /// What a process is doing.
    enum State: String, Codable, Sendable {
        case running, stopped, gone
    }

    var pid: Int32
    /// When it started, in the kernel's ticks since boot.
    var start: UInt64

    /// The identity of the process that has the number `pid` now; `nil` where there is none.
    init?(pid: Int32) {
        guard let fields = Self.fields(of: pid), fields.count > 19, let start = UInt64(fields[19])
        else { return nil }
        self.pid = pid
        self.start = start
    }

    /// What the process does now; a zombie is gone, once all its threads are.
    var state: State {
        guard let now = Self(pid: pid), now == self, let fields = Self.fields(of: pid),
            let letter = fields.first
        else { return .gone }
        return switch letter {
        // The first thread may be one while others still end, and hold files and sockets open.
        case "Z", "X": fields.count > 17 && (Int(fields[17]) ?? 0) > 1 ? .running : .gone
        case "T", "t": .stopped
        default: .running
        }
    }

    /// Sends `signal` where the process is still the same one.
    func send(_ signal: Int32) {
        guard state != .gone else { return }
        _ = kill(pid, signal)
    }

    /// Sends `signal` to the process, the same one still, and to all of its group.
    ///
    /// A program is started as the leader of a session, so its group is what it started itself.
    func sendToGroup(_ signal: Int32) {
        guard state != .gone else { return }
        if kill(-pid, signal) != 0 { _ = kill(pid, signal) }
    }

    /// Fields of /proc/PID/stat from the third on: the second may hold spaces and brackets.
    private static func fields(of pid: Int32) -> [String]? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else {
            return nil
        }
        let text = String(decoding: data, as: UTF8.self)
        guard let close = text.lastIndex(of: ")") else { return nil }
        return text[text.index(after: close)...].split(separator: " ").map(String.init)
    }

    /// The parent of `pid`; `nil` where either is gone.
    static func parent(of pid: Int32) -> Int32? {
        fields(of: pid).flatMap { $0.count > 1 ? Int32($0[1]) : nil }
    }

    /// Ends `processes`: asked first, then, after `grace`, made to.
    static func end(_ processes: [ProcessIdentity], grace: Duration = .seconds(5)) async {
        let alive = processes.filter { $0.state != .gone }
        guard !alive.isEmpty else { return }
        for process in alive {
            process.send(SIGTERM)
            process.send(SIGCONT)
        }
        if await isGone(alive, within: grace) { return }
        for process in alive { process.send(SIGKILL) }
        _ = await isGone(alive, within: .seconds(5))
    }

    /// Ends the groups of `processes`, the programs of `host`, by a signal that ends programs.
    ///
    /// - Throws: ``LabError`` where one of them runs on.
    static func end(
        _ processes: [ProcessIdentity],
        of host: String,
        by signal: Int32
    ) async throws(LabError) {
        for process in processes { process.sendToGroup(signal) }
        guard await isGone(processes, within: .seconds(10)) else {
            throw LabError("\(host) does not end", why: "10 s after the signal it runs")
        }
    }

    /// Whether all of `processes` are gone before `limit` is over.
    static func isGone(_ processes: [ProcessIdentity], within limit: Duration) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while processes.contains(where: { $0.state != .gone }) {
            guard ContinuousClock.now < deadline else { return false }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return true
    }
}
