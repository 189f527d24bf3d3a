import CLinux

/// Rouses a thread that sleeps in ``Poller/wait(until:now:)``, from any other thread.
///
/// The sleeper adds ``descriptor`` to its poller and calls ``drain()`` when its token comes; any
/// number of signals before that are one. Holds an eventfd, closed with the last reference.
public final class Wakeup: Sendable {
    private let owned: OwnedDescriptor

    /// Creates the eventfd.
    ///
    /// - Throws: ``IOError`` when the process is out of descriptors.
    public init() throws(IOError) {
        owned = try OwnedDescriptor(clinux_wakeup_create(), "create", "event descriptor")
    }

    /// What the sleeper watches for reading.
    public var descriptor: CInt {
        owned.number
    }

    /// Makes ``descriptor`` readable until it is drained.
    public func signal() {
        // The one failure of a non-blocking eventfd is a full counter: readable all the same.
        _ = clinux_wakeup_signal(owned.number)
    }

    /// Takes all signals so far; true if there was one.
    @discardableResult
    public func drain() -> Bool {
        clinux_wakeup_drain(owned.number) == 0
    }
}
