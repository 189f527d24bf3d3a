public import Base

/// How long middles of `mix` circuits hold cells, in few steps: for sums, not for single cells.
public enum HoldLength {
    /// The longest hold of each step but the last, ascending.
    public static let bounds: [TimeSpan] = [25, 50, 100, 200, 400, 800].map { .milliseconds($0) }

    /// The step that `span` falls into.
    static func step(of span: TimeSpan) -> Int {
        bounds.firstIndex { span <= $0 } ?? bounds.count
    }
}
