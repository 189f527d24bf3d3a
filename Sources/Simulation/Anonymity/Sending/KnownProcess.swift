/// A sending process with a name, as reports list it.
public struct KnownProcess: Hashable, Sendable {
    /// A short name, as used in files.
    public let name: String
    /// What it is, for people.
    public let title: String
    /// Whether it is one of our modes, or somebody else's for comparison only.
    public let isOurs: Bool
    /// The process.
    public let process: SendingProcess

    /// Names a process.
    public init(name: String, title: String, isOurs: Bool, _ process: SendingProcess) {
        self.name = name
        self.title = title
        self.isOurs = isOurs
        self.process = process
    }

    /// Cells pass on at once, and the ways jitter: three of 3 ms in the mean.
    public static let unshaped = KnownProcess(
        name: "none",
        title: "No shaping",
        isOurs: false,
        .direct(.exponential(mean: 0.003, hops: 3, base: 0))
    )

    /// Delays alone, longer than those of Nym: three of 50 ms in the mean.
    public static let delays = KnownProcess(
        name: "delays",
        title: "Exponential delays, 3 × 50 ms",
        isOurs: false,
        .direct(.exponential(mean: 0.050, hops: 3, base: 0))
    )

    /// The defaults in Nym's code as of 2025, with our cells in the place of its larger packets.
    ///
    /// 15 ms in the mean at each of three mixes, 20 ms in the mean between packets, 200 ms between
    /// loops of cover.
    public static let nym = KnownProcess(
        name: "nym",
        title: "Poisson, Nym's defaults",
        isOurs: false,
        .poisson(
            cellsPerSecond: 50,
            loopsPerSecond: 5,
            .exponential(mean: 0.015, hops: 3, base: 0)
        )
    )

    /// HOPR's delays (RFC-0006): uniform in 0 to 200 ms at each of three relays, no cover.
    public static let hopr = KnownProcess(
        name: "hopr",
        title: "Uniform delays, HOPR's",
        isOurs: false,
        .direct(.uniform(most: 0.200, hops: 3, base: 0))
    )

    /// Our mode `fast`: first in, first out, below 1 ms at three relays together.
    public static let fast = KnownProcess(
        name: "fast",
        title: "fast",
        isOurs: true,
        .direct(.exponential(mean: 0.000_3, hops: 3, base: 0))
    )

    /// Our mode `padded`: the rate ladder between client and middle, then 2 ms of jitter twice.
    public static let padded = KnownProcess(
        name: "padded",
        title: "padded",
        isOurs: true,
        .ladder(.padded, .exponential(mean: 0.002, hops: 2, base: 0))
    )

    /// Our mode `mix`: the shared grid with parity and hold.
    public static let mix = KnownProcess(
        name: "mix",
        title: "mix",
        isOurs: true,
        .slots(.mix)
    )

    /// All of them, others' first.
    public static let all = [unshaped, delays, nym, hopr, fast, padded, mix]

    /// What fine timing tells of senders at constant rates, as the protocol's design was chosen by:
    /// Poisson senders with short and longer delays, a rate of each client's own phase, a shared grid
    /// without losses, and grids with 1 % and 0.2 % loss under three holds.
    public static let timingSeries: [KnownProcess] = {
        func grid(_ loss: Double, _ hold: Range<Int>, _ text: String) -> KnownProcess {
            KnownProcess(
                name: "grid-\(text)",
                title:
                    "Shared grid, \(loss * 100) % loss, hold \(hold.lowerBound)..<\(hold.upperBound)",
                isOurs: false,
                .slots(
                    SlotGrid(slotSeconds: 0.01, lossShare: loss, hold: hold, groupCount: nil)
                )
            )
        }
        return [
            KnownProcess(
                name: "poisson-15ms",
                title: "Poisson 50/s, 2 × exp 15 ms",
                isOurs: false,
                .poisson(
                    cellsPerSecond: 50,
                    loopsPerSecond: 0,
                    .exponential(mean: 0.015, hops: 2, base: 0)
                )
            ),
            KnownProcess(
                name: "poisson-50ms",
                title: "Poisson 100/s, 2 × exp 50 ms",
                isOurs: false,
                .poisson(
                    cellsPerSecond: 100,
                    loopsPerSecond: 0,
                    .exponential(mean: 0.050, hops: 2, base: 0)
                )
            ),
            KnownProcess(
                name: "constant",
                title: "Constant 100/s, own phase, jitter",
                isOurs: false,
                .constant(cellsPerSecond: 100, .normal(mean: 0.02, deviation: 0.002 * 1.414))
            ),
            grid(0, 0..<1, "lossless"), grid(0.01, 0..<1, "1pc-0"), grid(0.01, 0..<5, "1pc-5"),
            grid(0.01, 0..<20, "1pc-20"), grid(0.002, 0..<1, "02pc-0"),
            grid(0.002, 0..<5, "02pc-5"), grid(0.002, 0..<20, "02pc-20"),
        ]
    }()
}
