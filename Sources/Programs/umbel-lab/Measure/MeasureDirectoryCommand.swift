import ArgumentParser
import Base
import Directory
import EventLoop
import Paths
import Wire

/// `umbel-lab measure directory`: what agreeing on a directory takes, reading it, and choosing paths.
struct MeasureDirectoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directory",
        abstract: "What a directory takes to agree on, to read, and to choose paths from.",
        discussion: """
            Four authorities agree twice, in virtual time, on a network of each size. Then a client \
            reads the last document and draws paths over it. Ends with an error where a path breaks \
            a rule or relays do not come as often as their weights say.
            """
    )

    @Option(parsing: .upToNextOption, help: "Relays, one network for each.")
    var relays = [9, 1_000, 10_000]
    @Option(help: "Paths drawn over the last network; 0 for none.")
    var paths = 100_000
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard !relays.isEmpty, relays.allSatisfy({ (4...50_000).contains($0) }) else {
            throw ValidationError("--relays is 4 to 50000")
        }
        guard (0...10_000_000).contains(paths), (1...100).contains(options.runs) else {
            throw ValidationError("--paths is 0 to 10000000, --runs 1 to 100")
        }
    }

    func run() throws {
        var measurements: [Measurement] = []
        var last: NetworkView?
        for count in relays {
            var bench = try DirectoryBench(relayCount: count)
            try bench.run()
            measurements += try figures(of: bench, &last)
        }
        var fault: LabError?
        if paths > 0, let last {
            var bench = PathDrawBench(view: last)
            try bench.run(count: paths)
            measurements += Self.figures(of: bench, paths)
            fault = Self.fault(of: bench)
        }
        try Measurement.show(measurements, options)
        if let fault { throw fault }
    }

    private func figures(
        of bench: DirectoryBench,
        _ view: inout NetworkView?
    ) throws -> [Measurement] {
        let (old, new) = (bench.documents[0], bench.documents[1])
        let bytes = new.encoded()
        var reading: [Double] = []
        var memory: [Double] = []
        var differing: [Double] = []
        var applying: [Double] = []
        var diff: [UInt8] = []
        for _ in 0..<options.runs {
            view = nil
            let read = try DirectoryBench.read(bytes, root: bench.root)
            reading.append(read.time.milliseconds)
            memory.append(Double(read.byteCount) / 1_048_576)
            view = read.view
            var shelf = DirectoryShelf()
            shelf.add(old)
            var begun = MonotonicClock.now()
            shelf.add(new)
            differing.append((MonotonicClock.now() - begun).milliseconds)
            diff = shelf.diff(from: old.digest) ?? []
            begun = MonotonicClock.now()
            let made = try old.applying(ConsensusDiffChain(parsing: diff))
            applying.append((MonotonicClock.now() - begun).milliseconds)
            guard made.digest == new.digest else {
                throw LabError("a diff does not lead to the document", why: "digests differ")
            }
        }
        let name = { (figure: String) in "\(bench.relayCount) relays, \(figure)" }
        return [
            Measurement(
                name("descriptors verified and taken"),
                unit: "ms",
                [bench.registering.milliseconds]
            ),
            Measurement(name("an authority's round"), unit: "ms", bench.rounds.map(\.milliseconds)),
            Measurement(name("document"), unit: "bytes", [Double(bytes.count)]),
            Measurement(name("diff, 1/24 with new keys"), unit: "bytes", [Double(diff.count)]),
            Measurement(name("diff made"), unit: "ms", differing),
            Measurement(name("diff applied"), unit: "ms", applying),
            Measurement(name("decoded and verified"), unit: "ms", reading),
            Measurement(name("memory of a view"), unit: "MiB", memory),
            Measurement(
                name("memory of an authority"),
                unit: "MiB",
                [Double(bench.authorityByteCount) / 1_048_576]
            ),
        ]
    }

    private static func figures(of bench: PathDrawBench, _ count: Int) -> [Measurement] {
        [
            Measurement(
                "a path of \(count) over \(bench.view.relays.count) relays",
                unit: "us",
                [Double(bench.timeOfPath.nanoseconds) / 1_000]
            ),
            Measurement(
                "paths that break a rule",
                unit: "of \(count)",
                [Double(bench.brokenCount)]
            ),
        ]
            + bench.chiSquares.map { position, value in
                Measurement(
                    "chi-square of \(position.name)",
                    unit: "(19 degrees: 43.82 at 0.1 %)",
                    [value]
                )
            }
    }

    private static func fault(of bench: PathDrawBench) -> LabError? {
        if bench.brokenCount > 0 {
            return LabError("\(bench.brokenCount) paths break a rule", why: "see §E.6")
        }
        let bad = bench.chiSquares.first { $0.value >= PathDrawBench.chiSquareLimit }
        return bad.map {
            LabError(
                "\($0.position.name) do not come as often as their weights say",
                why: "chi-square is \($0.value); chance exceeds"
                    + " \(PathDrawBench.chiSquareLimit) once in a thousand times"
            )
        }
    }
}

extension PathPosition {
    /// Relays there, as they are called in results.
    fileprivate var name: String {
        switch self {
        case .guardRelay: "guards"
        case .middle: "middles"
        case .exit: "exits"
        }
    }
}
