/// Finds the known word somebody most likely meant.
public enum Spelling {
    /// The word of `candidates` nearest to `word`; `nil` when none is near enough to be a slip.
    ///
    /// Near is an edit distance of at most a third of the longer word, and at least one edit.
    public static func nearest(to word: String, among candidates: [String]) -> String? {
        let ranked = candidates.sorted().map { ($0, distance(word, $0)) }
        guard let best = ranked.min(by: { $0.1 < $1.1 }) else { return nil }
        let allowed = max(1, max(word.count, best.0.count) / 3)
        return best.1 <= allowed ? best.0 : nil
    }

    /// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
    static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a), Array(b))
        var before: [Int] = []
        var previous = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var row = [i + 1]
            for (j, y) in b.enumerated() {
                var best = min(previous[j] + (x == y ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, x == b[j - 1], a[i - 1] == y {
                    best = min(best, before[j - 1] + 1)
                }
                row.append(best)
            }
            before = previous
            previous = row
        }
        return previous[b.count]
    }
}
