import Wire

/// Control messages of one direction of one hop's conversation, put together from their parts.
///
/// Spec: §C.4: a part with bit 7 of its type goes on in the next number.
struct ControlParts {
    /// Parts that are kept, at most: a message has four.
    private static let limit = 64

    private var parts: [UInt16: ControlRecord] = [:]
    private var order: [UInt16] = []

    init() {}

    /// Keeps a part that goes on in the next number.
    mutating func keep(_ record: ControlRecord) {
        if parts.updateValue(record, forKey: record.sequence) == nil {
            order.append(record.sequence)
        }
        if order.count > Self.limit { parts[order.removeFirst()] = nil }
    }

    /// The whole message whose last part is `record`, and of how many parts it is.
    ///
    /// Parts that were not seen are missing at its front: then it cannot be read, or begins late.
    func whole(_ record: ControlRecord) -> (message: [UInt8], count: Int) {
        var pieces = [record.message]
        var number = record.sequence &- 1
        while let part = parts[number], part.type == record.type, pieces.count < Self.limit {
            pieces.append(part.message)
            number &-= 1
        }
        return (Array(pieces.reversed().joined()), pieces.count)
    }
}
