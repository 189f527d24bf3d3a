import ArgumentParser
import Synchronization

/// `umbel-lab measure path`: cells a second at each place of a circuit, on one processor.
struct MeasurePathCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "path",
        abstract:
            "Cells a second that client, guard, middle and exit each pass on, fed from memory."
    )

    @Option(help: "Cells in each run and direction.")
    var cells = 60_000
    @Option(help: "Which way to measure: forward, backward, or both.")
    var direction = Direction.both
    @Flag(help: "Allocate once for each cell, to show that a counter of allocations counts.")
    var allocating = false
    @Flag(help: "Mark by system calls where each place's work begins and ends, for a tracer.")
    var marking = false
    @Flag(help: "Let each relay be paid, tick by tick.")
    var paid = false
    @OptionGroup var options: MeasureOptions

    enum Direction: String, ExpressibleByArgument, CaseIterable {
        case forward, backward, both

        var ways: [Bool] {
            switch self {
            case .forward: [true]
            case .backward: [false]
            case .both: [true, false]
            }
        }
    }

    func validate() throws {
        guard (1...5_000_000).contains(cells), (1...100).contains(options.runs) else {
            throw ValidationError("--cells is 1 to 5000000, --runs 1 to 100")
        }
    }

    func run() throws {
        var measurements: [Measurement] = []
        for isForward in direction.ways {
            var rates = PathBench.Place.allCases.map { _ in [Double]() }
            for run in 0..<options.runs {
                var bench = PathBench(seed: UInt8(truncatingIfNeeded: run), isPaid: paid)
                bench.isMarking = marking
                // Each instruction is looked at: of few cells.
                if marking { bench.packetsOfBatch = 1 }
                let moved = bench.run(cells: cells, isForward: isForward)
                if allocating { Self.allocate(moved) }
                for place in PathBench.Place.allCases {
                    rates[place.rawValue].append(
                        Double(moved) / (Double(bench.spent[place.rawValue]) / 1e9)
                    )
                }
            }
            for place in PathBench.Place.allCases {
                measurements.append(
                    Measurement(
                        "\(place.name), \(isForward ? "forward" : "backward")",
                        unit: "cells/s",
                        rates[place.rawValue]
                    )
                )
            }
        }
        try Measurement.show(measurements, options)
    }

    /// Makes an object for each of `count` cells, in the place of the one before: an allocation, and
    /// a reference let go.
    private static func allocate(_ count: Int) {
        for _ in 0..<count { last.withLock { $0 = Object() } }
    }

    private final class Object: Sendable {}

    private static let last = Mutex<Object?>(nil)
}

extension PathBench.Place {
    /// As it is called in results.
    var name: String {
        switch self {
        case .client: "client"
        case .guardRelay: "guard"
        case .middle: "middle"
        case .exit: "exit"
        }
    }
}
