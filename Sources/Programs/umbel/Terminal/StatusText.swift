import ControlAPI

/// Reports of state as text.
enum StatusText {
    /// A client's state in one line.
    static func line(_ report: StatusReport) -> String {
        var text = report.state.rawValue
        if let exit = report.exit { text += " through \(exit.nickname) (\(exit.country))" }
        if let progress = report.progress, report.state == .connecting {
            text += " \(progress.percent)% - \(progress.detail)"
        }
        if let reason = report.reason { text += ": \(reason)" }
        return text
    }

    /// A client's state in full, at `now` seconds since 1970-01-01 UTC.
    static func full(_ report: StatusReport, now: UInt64, terminal: Terminal) -> String {
        let color: Terminal.Color =
            switch report.state {
            case .connected: .green
            case .connecting, .disconnecting: .yellow
            case .disconnected, .blocked: .red
            }
        var lines = health(report).map { line in
            // Wrapped before it is coloured: escape sequences take no room.
            let label = "! \(line.about)  "
            let text = Text.wrapped(
                "\(line.problem) - \(line.fix)",
                after: label,
                width: terminal.width
            )
            return terminal.colored(label, .yellow) + text.dropFirst(label.count)
        }
        lines.append(terminal.colored(report.state.rawValue, color))
        var fields: [(String, String)] = []
        if let reason = report.reason { fields.append(("Reason", reason)) }
        if let progress = report.progress {
            fields.append(("Progress", "\(progress.percent)%, \(progress.detail)"))
        }
        if let exit = report.exit {
            fields.append(("Exit", "\(exit.nickname) (\(exit.country)) \(Text.short(exit.id))"))
        }
        fields.append(("For", Text.seconds(now > report.since ? now - report.since : 0)))
        fields.append(("Sent", Text.bytes(report.bytesSent)))
        fields.append(("Received", Text.bytes(report.bytesReceived)))
        for tunnel in report.tunnels {
            let owner = tunnel.pid.map { "process \($0)" } ?? "this machine"
            let mode = tunnel.traffic.map { ", \(TrafficText.name($0))" } ?? ""
            fields.append(("Tunnel", "\(tunnel.interface) of \(owner)\(mode)"))
            if let traffic = tunnel.traffic, traffic.mode != .fast {
                let price = TrafficPrice(of: traffic)
                fields.append(("", TrafficText.price(price)))
            }
        }
        if report.lockdown == true { fields.append(("Lockdown", "on: `down` keeps blocking")) }
        fields += report.directory.map(DirectoryText.fields) ?? []
        lines += self.lines(fields, terminal)
        return lines.joined(separator: "\n")
    }

    /// Minutes a client's clock may be off before relays refuse its early cells.
    private static let clockTolerance = 2

    /// What is not as it should be: what the daemon says, and what relays say of its directory and
    /// clock.
    static func health(_ report: StatusReport) -> [StatusReport.HealthLine] {
        var lines = report.health ?? []
        guard let relays = report.relays else { return lines }
        if relays.conflictingDirectory > 0 {
            let count = "\(relays.conflictingDirectory) hops so far"
            lines.append(
                StatusReport.HealthLine(
                    about: "Directory",
                    problem: "\(count) have another one of the same time as ours",
                    fix: "ask the network's people: somebody is deceived"
                )
            )
        }
        let offset = relays.clockOffsetMinutes
        if abs(offset) > clockTolerance {
            let way = offset > 0 ? "behind" : "ahead of"
            lines.append(
                StatusReport.HealthLine(
                    about: "Clock",
                    problem: "the clock is wrong: \(abs(offset)) minutes \(way) the relays'",
                    fix: "timedatectl set-ntp true"
                )
            )
        }
        return lines
    }

    /// A relay's state in full.
    static func full(_ report: RelayStatusReport, terminal: Terminal) -> String {
        var fields = [
            ("Identity", report.identity),
            ("Up", Text.seconds(report.uptimeSeconds)),
            ("Links", "\(report.links)"),
            ("Circuits", "\(report.circuits)"),
            ("Cells", "\(report.cellsForward) forward, \(report.cellsBackward) backward"),
        ]
        if let leases = report.exitLeases { fields.append(("Leases", "\(leases)")) }
        if let resolver = report.resolver {
            fields.append(("Resolver", RelayText.resolver(resolver)))
        }
        fields += report.line.map(RelayText.fields) ?? []
        let drops = report.drops.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        let dropped = drops.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        fields.append(("Dropped", dropped.isEmpty ? "nothing" : dropped))
        fields += report.directory.map(DirectoryText.fields) ?? []
        fields += report.listing.map(DirectoryText.fields) ?? []
        let head = "relay \(report.nickname)" + (report.exitLeases == nil ? "" : ", exit")
        return ([head] + lines(fields, terminal)).joined(separator: "\n")
    }

    static func lines(_ fields: [(String, String)], _ terminal: Terminal) -> [String] {
        let label = fields.reduce(0) { max($0, $1.0.count) }
        return fields.map { name, value in
            let space = String(repeating: " ", count: label - name.count + 2)
            return Text.wrapped(value, after: "  \(name)\(space)", width: terminal.width)
        }
    }
}
