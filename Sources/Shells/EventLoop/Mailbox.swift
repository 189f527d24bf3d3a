import Synchronization

/// A bounded queue from many threads to one, whose reader sleeps in a ``Poller``.
///
/// For messages between threads, not for packets: posting takes a lock for a moment. The first
/// message after a drain signals the reader's ``Wakeup``, the ones behind it do not. Once both
/// arrays have grown to what the traffic needs, nothing here allocates.
public final class Mailbox<Element: Sendable>: Sendable {
    /// Messages that wait at most.
    public let capacity: Int
    private let waiting: Mutex<[Element]>
    private let wakeup: Wakeup

    /// Makes a mailbox of `capacity` messages whose reader listens to `wakeup`.
    ///
    /// Several mailboxes may share one wakeup: its reader then drains them all.
    /// - Precondition: `capacity` is above zero.
    public init(capacity: Int, wakeup: Wakeup) {
        precondition(capacity > 0, "a mailbox holds at least one message")
        self.capacity = capacity
        self.wakeup = wakeup
        waiting = Mutex([])
    }

    /// Puts `element` behind the others; false, and nothing done, when the mailbox is full.
    ///
    /// The caller counts what was refused.
    public func post(_ element: Element) -> Bool {
        let countBefore: Int? = waiting.withLock { messages in
            let count = messages.count
            guard count < capacity else { return nil }
            messages.append(element)
            return count
        }
        if countBefore == 0 {
            wakeup.signal()
        }
        return countBefore != nil
    }

    /// Replaces `messages` by all that wait, oldest first.
    ///
    /// The array handed in becomes the mailbox's next buffer, its room kept. Drain the wakeup
    /// before the mailbox, never after it, so that no message is left behind unannounced.
    public func drain(into messages: inout [Element]) {
        messages.removeAll(keepingCapacity: true)
        waiting.withLock { waiting in
            swap(&waiting, &messages)
        }
    }
}
