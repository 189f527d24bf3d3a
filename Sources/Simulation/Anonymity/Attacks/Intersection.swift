/// Long-term intersection: who was on line every time something happened.
///
/// Each round the adversary learns who is on line; in some rounds the flow it wants to name is seen.
/// Who was away in one of those is out.
public enum Intersection {
    /// How many clients are still possible after each round.
    ///
    /// - Parameters:
    ///   - online: for each round, which clients are on line.
    ///   - isSeen: for each round, whether the flow was seen.
    public static func candidateCounts(online: [[Bool]], isSeen: [Bool]) -> [Int] {
        guard let clients = online.first?.count else { return [] }
        var isPossible = [Bool](repeating: true, count: clients)
        return zip(online, isSeen).map { present, isSeen in
            if isSeen {
                for client in 0..<clients where !present[client] { isPossible[client] = false }
            }
            return isPossible.filter(\.self).count
        }
    }

    /// Rounds until one client is left; `nil` where it does not come to that.
    public static func roundsUntilNamed(online: [[Bool]], isSeen: [Bool]) -> Int? {
        let counts = candidateCounts(online: online, isSeen: isSeen)
        return counts.firstIndex { $0 <= 1 }.map { $0 + 1 }
    }
}
