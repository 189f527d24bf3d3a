import Foundation

/// Processor time that the programs of a lab have taken so far, in seconds, by what their hosts are.
struct LabEffort {
    private(set) var client = 0.0
    private(set) var relays = 0.0
    /// Authorities and mints.
    private(set) var others = 0.0

    /// Weighs what runs in `lab` now.
    ///
    /// - Throws: ``LabError`` where a program is gone.
    init(of lab: MeasuredLab) throws {
        for host in try lab.folder.existing().hosts {
            let seconds = try host.programs.compactMap(\.process)
                .reduce(0) { $0 + (try ProcessWeight($1.pid).processorSeconds) }
            switch host.role {
            case .client: client += seconds
            case .relay: relays += seconds
            case .authority: others += seconds
            case .internet, .plain: continue
            }
        }
    }

    /// All of it.
    var sum: Double { client + relays + others }

    /// What `lab` took for each GiB that the stream of `body` carried, in seconds.
    static func perGibibyte(
        of lab: MeasuredLab,
        _ body: () async throws -> LabThroughput.Stream
    ) async throws -> (stream: LabThroughput.Stream, effort: Self) {
        let before = try Self(of: lab)
        let stream = try await body()
        var effort = try Self(of: lab)
        let gibibytes = max(1, Double(stream.byteCount)) / 1_073_741_824
        effort.client = (effort.client - before.client) / gibibytes
        effort.relays = (effort.relays - before.relays) / gibibytes
        effort.others = (effort.others - before.others) / gibibytes
        return (stream, effort)
    }
}
