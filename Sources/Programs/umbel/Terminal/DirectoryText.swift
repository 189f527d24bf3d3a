import ControlAPI

/// What nodes know of the directory, as text.
enum DirectoryText {
    /// A directory as fields of a status.
    static func fields(_ report: DirectoryReport) -> [(String, String)] {
        let missing = (report.authorities ?? []).filter { !report.signers.contains($0) }
        let others = missing.isEmpty ? "" : ", not by \(missing.joined(separator: ", "))"
        var fields = [
            (
                "Directory",
                "\(report.relays) relays, of \(DateText.minute(seconds: report.validAfter)),"
                    + " signed by \(report.signers.joined(separator: ", "))\(others),"
                    + " from \(report.source)"
            )
        ]
        if let alarm = report.alarm { fields.append(("ALARM", alarm)) }
        return fields
    }

    /// Whether a relay is listed, as fields of a status.
    static func fields(_ report: ListingReport) -> [(String, String)] {
        let answers = report.authorities.sorted { $0.key < $1.key }
            .map { "\($0.key): \($0.value)" }.joined(separator: "; ")
        let listed =
            report.isListed
            ? "\(report.flags.joined(separator: ", ")), weight \(report.weight) kbit/s" : "no"
        return [
            ("Listed", listed),
            ("Authorities", answers.isEmpty ? "none has answered yet" : answers),
        ] + (report.hasWrongClock ? [("CLOCK", "\(clock(report)): timedatectl set-ntp true")] : [])
    }

    /// What a machine's clock shows beside those of the authorities.
    static func clock(_ report: ListingReport) -> String {
        let offset = report.clockOffsetSeconds ?? 0
        let way = offset > 0 ? "behind" : "ahead of"
        return "\(Text.seconds(offset.magnitude)) \(way) the authorities' clocks"
    }

    /// An authority's state in full.
    static func full(_ report: AuthorityStatusReport, terminal: Terminal) -> String {
        var fields = [
            ("Up", Text.seconds(report.uptimeSeconds)),
            (
                "Authorities",
                "\(report.met) of \(report.authorities) met, \(report.threshold) must sign"
            ),
            ("Relays", "\(report.relaysRunning) running of \(report.relaysKnown) known"),
        ]
        fields +=
            report.directory.map(Self.fields) ?? [("Directory", "no consensus yet")]
        let counted = report.counters.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        fields.append(
            ("Counted", counted.map { "\($0.value) \($0.key)" }.joined(separator: ", "))
        )
        let head = "authority \(report.name), index \(report.index)"
        return ([head] + StatusText.lines(fields, terminal)).joined(separator: "\n")
    }
}
