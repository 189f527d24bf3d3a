import Foundation
import HostNetwork

/// What a guard in a lab does with its line while its client offers it too much.
struct LineTrial {
    let relay: LabRelay
    /// Seconds of echoes in a round.
    let seconds: Int

    // MARK: A load

    /// How much of a load must reach the guard for a figure to count.
    private static let leastOffered = 0.8
    private static let patience: Duration = .seconds(15)
    /// How often a load is begun, until it is there.
    private static let tries = 3

    private func count() async throws -> CableCount {
        try await CableCount(of: relay.name, in: relay.lab)
    }

    /// Runs `body` while `megabits` are offered to the guard's line, as its cable shows from before it
    /// begins until it ends; 0 for no load.
    ///
    /// - Throws: ``LabError`` where less is offered.
    private func beside<Result>(
        _ megabits: Double,
        atMost seconds: Int,
        _ body: () async throws -> Result
    ) async throws -> Result {
        guard megabits > 0 else { return try await body() }
        let least = megabits * 1e6 * Self.leastOffered
        // iperf3 sends one datagram to begin with, and waits for ever where that is lost.
        var left = Self.tries
        while true {
            left -= 1
            do {
                return try await beside(load(megabits, seconds), least, body)
            } catch let shortage as Shortage {
                guard !shortage.hasBegun, left > 0 else {
                    throw LabError(
                        "nothing can be said of \(relay.name)",
                        why: "\(Int(shortage.offered)) bit/s reach it, \(Int(least)) are needed"
                    )
                }
            }
        }
    }

    private func load(_ megabits: Double, _ seconds: Int) -> Task<Void, any Error> {
        let throughput = LabThroughput(lab: relay.lab)
        return Task { try await throughput.offer(megabits, seconds: seconds) }
    }

    private func beside<Result>(
        _ load: Task<Void, any Error>,
        _ least: Double,
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            let result = try await besideLoad(least, body)
            load.cancel()
            // It was ended: what becomes of it then says nothing of the time before.
            _ = await load.result
            return result
        } catch {
            load.cancel()
            if case .failure(let failure as LabError) = await load.result, error is Shortage {
                throw failure
            }
            throw error
        }
    }

    /// Less was offered than should have been.
    private struct Shortage: Error {
        /// Bits a second.
        var offered: Double
        /// Whether there was enough at first.
        var hasBegun: Bool
    }

    private func besideLoad<Result>(
        _ least: Double,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let end = ContinuousClock.now + Self.patience
        var before = try await count()
        while true {
            try await Task.sleep(for: .milliseconds(500))
            let now = try await count()
            let offered = now.rates(since: before).received
            if offered >= least { break }
            guard ContinuousClock.now < end else {
                throw Shortage(offered: offered, hasBegun: false)
            }
            before = now
        }
        let begin = try await count()
        let result = try await body()
        let offered = try await count().rates(since: begin).received
        guard offered >= least else { throw Shortage(offered: offered, hasBegun: true) }
        return result
    }

    // MARK: The rate

    /// What of its rate the guard sends over ten seconds in which half as much again is offered, so
    /// many times.
    func shares(of megabits: Int, runs: Int) async throws -> [Double] {
        try await beside(Double(megabits) * 1.5, atMost: 60 + 10 * runs) {
            // What a bucket holds is over, and queues are full.
            try await Task.sleep(for: .seconds(2))
            var shares: [Double] = []
            for _ in 0..<runs {
                let before = try await count()
                try await Task.sleep(for: .seconds(10))
                let sent = try await count().rates(since: before).sent
                shares.append(sent / (Double(megabits) * 1e6))
            }
            return shares
        }
    }

    // MARK: Others beside it

    /// What ten programs, each with a circuit of its own, met with, and what the guard took meanwhile.
    struct Round {
        /// The round trip 99 of 100 echoes keep to, in milliseconds.
        var p99: Double
        /// The part of the echoes that did not come back.
        var lost: Double
        /// Bytes that waited in the guard, at most.
        var waiting: Double
        /// Memory it had, at most.
        var mebibytes: Double
        /// Descriptors it had, at most.
        var descriptors: Double
    }

    private static let programs = 10

    /// One round of echoes beside a load of `megabits`, once nothing of the last load waits any more.
    func round(beside megabits: Double) async throws -> Round {
        let end = ContinuousClock.now + Self.patience
        while try relay.reading().line?.waitingBytes != 0 {
            guard ContinuousClock.now < end else {
                throw LabError("cells wait in \(relay.name)", why: "\(Self.patience) after a load")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        return try await beside(megabits, atMost: seconds + 60) {
            let watch = Task { try await watchGuard() }
            defer { watch.cancel() }
            let echoes = try await echoes()
            watch.cancel()
            let most = try await watch.value
            return Round(
                p99: echoes.times[min(echoes.times.count - 1, echoes.times.count * 99 / 100)],
                lost: 1 - Double(echoes.times.count) / Double(echoes.sent),
                waiting: most.waiting,
                mebibytes: most.mebibytes,
                descriptors: most.descriptors
            )
        }
    }

    /// What the guard takes at most, until the task is cancelled.
    private func watchGuard() async throws -> (
        waiting: Double, mebibytes: Double, descriptors: Double
    ) {
        var most = (waiting: 0.0, mebibytes: 0.0, descriptors: 0.0)
        while !Task.isCancelled {
            let weight = try relay.weight()
            most.mebibytes = max(most.mebibytes, weight.mebibytes)
            most.descriptors = max(most.descriptors, Double(weight.descriptors))
            most.waiting = max(most.waiting, try relay.reading().line?.waitingBytes ?? 0)
            try? await Task.sleep(for: .milliseconds(200))
        }
        return most
    }

    /// The round trips of all programs in milliseconds, the shortest first, and how many echoes were
    /// asked for.
    ///
    /// - Throws: ``LabError`` where a program has no answer at all.
    private func echoes() async throws -> (times: [Double], sent: Int) {
        let lab = relay.lab
        guard let address = try lab.host(.internet).addresses.first,
            let umbel = try lab.folder.existing().umbel
        else { throw LabError("there is nobody to ask", why: "the lab has no internet host") }
        let count = seconds * 10
        let command = [
            umbel, "run", "--socket", try LabClient(lab: lab).socket, "--", "ping", "-n", "-i",
            "0.1", "-c", "\(count)", "-W", "2", "\(address)",
        ]
        let times = try await withThrowingTaskGroup(of: [Double].self) { group in
            for _ in 0..<Self.programs {
                group.addTask {
                    let outcome = try await LabClient(lab: lab)
                        .outcome(command, seconds: seconds + 60)
                    guard outcome.status == 0 else {
                        throw LabError("no echo comes back", why: outcome.message)
                    }
                    return outcome.output.matches(of: /time=([0-9.]+) ms/)
                        .compactMap { Double($0.output.1) }
                }
            }
            var all: [Double] = []
            for try await times in group { all += times }
            return all
        }
        return (times.sorted(), count * Self.programs)
    }
}
