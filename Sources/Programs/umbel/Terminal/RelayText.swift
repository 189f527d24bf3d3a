import ControlAPI

/// What a relay carries, as text.
enum RelayText {
    /// The fields of a relay's line.
    static func fields(_ line: RelayLineReport) -> [(String, String)] {
        var fields = [
            ("Serving", serving(line.state)),
            ("Sending", rate(line.bitRateSent, limit: line.limitSent)),
            ("Receiving", rate(line.bitRateReceived, limit: line.limitReceived)),
            ("Sent", Text.bytes(line.bytesSent)),
            ("Received", Text.bytes(line.bytesReceived)),
            ("Waiting", Text.bytes(UInt64(clamping: line.bytesWaiting))),
            ("Memory", Text.bytes(line.memoryBytes)),
        ]
        if let quota = line.quota {
            let part = Double(quota.usedBytes) / Double(max(1, quota.limitBytes))
            fields.append(
                (
                    "Quota",
                    "\(Text.decimalBytes(quota.usedBytes)) of \(Text.decimalBytes(quota.limitBytes)),"
                        + " \(Text.percent(part)) %, until \(DateText.minute(seconds: quota.ends))"
                )
            )
        }
        return fields
    }

    /// How the resolver of an exit stands.
    static func resolver(_ report: ExitResolverReport) -> String {
        let state = report.answers ? "answers" : "does not answer"
        let restarts = report.restarts == 0 ? "" : ", started again \(report.restarts) times"
        return "\(report.program) \(state)\(restarts)"
    }

    /// A relay in one line.
    static func line(_ report: RelayStatusReport) -> String {
        guard let line = report.line else { return "\(report.nickname) is starting" }
        return "\(report.nickname) \(serving(line.state)), \(report.circuits) circuits,"
            + " \(bits(line.bitRateSent)) sent, \(bits(line.bitRateReceived)) received,"
            + " \(Text.bytes(UInt64(clamping: line.bytesWaiting))) waiting"
    }

    /// A relay on a screen of its own.
    static func top(_ report: RelayStatusReport, terminal: Terminal) -> String {
        var fields = [
            ("Circuits", "\(report.circuits)"), ("Links", "\(report.links)"),
        ]
        if let leases = report.exitLeases { fields.append(("Leases", "\(leases)")) }
        if let resolver = report.resolver { fields.append(("Resolver", Self.resolver(resolver))) }
        fields += report.line.map(Self.fields) ?? []
        let drops = report.drops.filter { $0.value > 0 }.sorted { $0.value > $1.value }
        fields.append(
            (
                "Dropped",
                drops.isEmpty
                    ? "nothing" : drops.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
            )
        )
        let head = "relay \(report.nickname), up \(Text.seconds(report.uptimeSeconds))"
        return ([head] + StatusText.lines(fields, terminal)).joined(separator: "\n")
    }

    /// Bits a second in the unit that leaves one to three digits before the point.
    static func bits(_ rate: UInt64) -> String {
        var value = Double(rate)
        var unit = 0
        let units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]
        while value >= 1_000, unit < units.count - 1 {
            value /= 1_000
            unit += 1
        }
        return unit == 0 ? "\(rate) bit/s" : "\((value * 10).rounded() / 10) \(units[unit])"
    }

    private static func rate(_ rate: UInt64, limit: UInt64?) -> String {
        bits(rate) + (limit.map { " of \(bits($0))" } ?? "")
    }

    private static func serving(_ state: RelayLineReport.State) -> String {
        switch state {
        case .serving: "takes circuits"
        case .draining: "drains"
        case .quotaUsedUp: "has used its quota up"
        case .closed: "is closed at this hour"
        }
    }
}
