import ArgumentParser
import Base
import EventLoop

/// `umbel-lab measure path`: packets a second through the packet paths of all nodes of a circuit.
struct MeasurePathCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "path",
        abstract: "Packets a second through client, guard, middle and exit on one processor.",
        discussion: """
            Each packet fills a cell. It is put into one by the client, passed on by the guard and \
            the middle, and taken out by the exit; backward the other way round.
            """
    )

    @Option(help: "Packets in each run and direction.")
    var packets = 20_000
    @Flag(help: "Allocate once for each packet, to show that a counter of allocations counts.")
    var allocating = false
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1_000...500_000).contains(packets), (1...100).contains(options.runs) else {
            throw ValidationError("--packets is 1000 to 500000, --runs 1 to 100")
        }
    }

    func run() throws {
        var forward: [Double] = []
        var backward: [Double] = []
        for run in 0..<options.runs {
            var bench = PathBench(seed: UInt8(truncatingIfNeeded: run))
            forward.append(rate { bench.sendForward() })
            backward.append(rate { bench.sendBackward() })
        }
        try Measurement.show(
            [
                Measurement("path, forward", unit: "packets/s", forward),
                Measurement("path, backward", unit: "packets/s", backward),
            ],
            options
        )
    }

    /// Sends batches until there were enough packets; how many a second.
    private func rate(_ sendBatch: () -> Void) -> Double {
        var count = 0
        let begun = MonotonicClock.now()
        while count < packets {
            sendBatch()
            count += PathBench.batchCount
            if allocating { allocate(PathBench.batchCount) }
        }
        return Double(count) / (MonotonicClock.now() - begun).seconds
    }

    private func allocate(_ count: Int) {
        for _ in 0..<count {
            unsafe UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 16).deallocate()
        }
    }
}
