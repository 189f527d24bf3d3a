public import Base
public import Wire

/// Something of payments that a node's core cannot do itself: its shell does it, and says how it
/// went under the same number.
public enum TicketErrand: Sendable {
    /// Put these on disk, all or none. What is waiting for it goes on only once it is done.
    case store(UInt64, [RecordWrite])
    /// Ask the mint with this index, and bring its answer; `nil` where there is none.
    case ask(UInt64, mint: UInt8, MintRequest)
}
