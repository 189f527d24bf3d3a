import EventLoop
import Glibc
import Synchronization

/// A TUN device on its way to the packet thread; closed where it never gets there.
final class DeviceHandover: Sendable {
    private let device: Mutex<OwnedDescriptor?>

    /// Takes the device in.
    init(_ device: consuming OwnedDescriptor) {
        self.device = Mutex(device)
    }

    /// Hands it out, once.
    ///
    /// - Throws: ``IOError`` where it has been handed out before.
    func take() throws(IOError) -> OwnedDescriptor {
        guard let device = device.withLock({ $0.take() }) else {
            throw IOError("take over", "a TUN device", code: EBADF)
        }
        return device
    }
}
