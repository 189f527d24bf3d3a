/// What became of the cells of one flow, one way, and what an observer saw of it at both ends.
public struct Passage: Sendable {
    /// All that passed the client's link, cover and repair included.
    public var link: FlowTrace
    /// Real cells at the far side of the exit.
    public var exit: FlowTrace
    /// When cells passed the client's link that may have become one at the exit, in order.
    ///
    /// Where
    /// losses are repaired, lost cells that could be are among them: the adversary knows that too.
    public var causes: [Double]
    /// What the way added to each real cell that arrived, in seconds.
    public var delays: [Double]
    /// Real cells that were to be carried.
    public var realCount: Int

    init(realCount: Int) {
        link = FlowTrace()
        exit = FlowTrace()
        causes = []
        delays = []
        self.realCount = realCount
    }
}
