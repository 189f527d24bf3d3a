import Synchronization

/// A bounded queue from many threads to one, whose reader sleeps in a ``Poller``.
///
/// For messages between threads, not for packets: posting takes a lock for a moment. The first
/// message after a drain signals the reader's ``Wakeup``, the ones behind it do not. Once both
/// arrays have grown to what the traffic needs, nothing here allocates.
///
/// What may be dropped goes by ``post(_:weight:)`` and is bounded here. What must not be lost goes
/// by ``insist(_:)``, and whoever sends it bounds it.
public final class Mailbox<Element: Sendable>: Sendable {
    private struct Waiting {
        var messages: [Element] = []
        var weight = 0
    }

    /// Weight of posted messages that waits at most.
    public let capacity: Int
    private let waiting: Mutex<Waiting>
    private let wakeup: Wakeup

    /// Makes a mailbox for messages of `capacity` in all, whose reader listens to `wakeup`.
    ///
    /// Several mailboxes may share one wakeup: its reader then drains them all.
    /// - Precondition: `capacity` is above zero.
    public init(capacity: Int, wakeup: Wakeup) {
        precondition(capacity > 0, "a mailbox holds at least one message")
        self.capacity = capacity
        self.wakeup = wakeup
        waiting = Mutex(Waiting())
    }

    /// Puts `element` behind the others; false, and nothing done, when the mailbox is full.
    ///
    /// A message of many parts weighs as much as they are. The caller counts what was refused.
    public func post(_ element: Element, weight: Int = 1) -> Bool {
        let countBefore: Int? = waiting.withLock { waiting in
            guard waiting.weight + weight <= capacity else { return nil }
            waiting.weight += weight
            waiting.messages.append(element)
            return waiting.messages.count - 1
        }
        if countBefore == 0 {
            wakeup.signal()
        }
        return countBefore != nil
    }

    /// Puts `element` behind the others, however many there are.
    ///
    /// For what does damage when it is lost. There must be a bound on how many of them there can
    /// be: one for each link or circuit, or for each message the other way.
    public func insist(_ element: Element) {
        let isFirst = waiting.withLock { waiting in
            waiting.messages.append(element)
            return waiting.messages.count == 1
        }
        if isFirst {
            wakeup.signal()
        }
    }

    /// Replaces `messages` by all that wait, oldest first.
    ///
    /// The array handed in becomes the mailbox's next buffer, its room kept. Drain the wakeup
    /// before the mailbox, never after it, so that no message is left behind unannounced.
    public func drain(into messages: inout [Element]) {
        messages.removeAll(keepingCapacity: true)
        waiting.withLock { waiting in
            waiting.weight = 0
            swap(&waiting.messages, &messages)
        }
    }
}
