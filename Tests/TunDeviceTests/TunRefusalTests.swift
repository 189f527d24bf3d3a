import EventLoop
import Glibc
import NamespaceSupport
import Testing
import TunDevice

/// Opens a device and hands back why it could not be.
private func failure(
    _ name: String,
    in namespace: NetworkNamespace? = nil,
    _ configure: (inout TunOptions) -> Void = { _ in }
) throws -> IOError? {
    var options = TunOptions()
    configure(&options)
    let attempt: @Sendable () -> IOError? = { [options] in
        do throws(IOError) {
            _ = try TunDevice(name: name, options: options)
            return nil
        } catch {
            return error
        }
    }
    guard let namespace else { return attempt() }
    return try namespace.inside(attempt)
}

@Suite("TUN interfaces that cannot be had", .timeLimit(.minutes(1)))
struct TunRefusalTests {
    @Test("without the driver's node the hint is to load it")
    func noDriver() throws {
        let error = try #require(try failure("tun0") { $0.devicePath = "/dev/net/no-tun-here" })
        #expect(
            error.description
                == "open /dev/net/no-tun-here: no such file or directory (ENOENT)"
        )
        #expect(error.hint?.contains("modprobe tun") == true)
    }

    private static let isAble = TunHarness.whyUnavailable == nil
    private static let reason: Comment = "\(TunHarness.whyUnavailable ?? "")"

    @Test("a name that is taken is refused with the cause", .enabled(if: isAble, reason))
    func taken() throws {
        let harness = try TunHarness()
        let error = try #require(try failure(harness.device.name, in: harness.namespace))
        #expect(error.code == EBUSY)
        #expect(
            error.description
                == "create TUN interface tun0: device or resource busy (EBUSY)"
        )
        #expect(error.hint?.contains("choose another name") == true)

        try harness.namespace.ip("link", "add", "dummy-0", "type", "bridge")
        let kind = try #require(try failure("dummy-0", in: harness.namespace))
        #expect(kind.code == EINVAL)
        #expect(kind.hint?.contains("ip link show dummy-0") == true)
    }

    @Test(
        "what is no interface name is refused",
        .enabled(if: isAble, reason),
        arguments: ["", "sixteen-letters-", "a/b", "with blank", "nul\0"]
    )
    func badName(name: String) throws {
        let error = try #require(try failure(name, in: try NetworkNamespace()))
        #expect(error.code == EINVAL)
        #expect(error.hint != nil)
    }

    @Test("queues share a name only if all asked for it", .enabled(if: isAble, reason))
    func queues() throws {
        let harness = try TunHarness { $0.isMultiQueue = true }
        let name = harness.device.name
        #expect(try failure(name, in: harness.namespace) { $0.isMultiQueue = true } == nil)
        #expect(try failure(name, in: harness.namespace)?.code == EINVAL)
    }

    @Test("a user who may not open the node is told what to do", .enabled(if: isAble, reason))
    func noPermission() async {
        await #expect(processExitsWith: .exitCode(77)) {
            guard setgid(65_534) == 0, setuid(65_534) == 0 else { exit(1) }
            let path = "/dev/net/tun"
            // Where the node is open to all, the next step is what fails.
            let isOpenToAll = access(path, R_OK | W_OK) == 0
            let error = try failure("tun0")
            let operation = isOpenToAll ? "create TUN interface" : "open"
            guard let error, error.isPrivilegeMissing, error.operation == operation,
                error.hint?.contains("CAP_NET_ADMIN") == true
            else { exit(2) }
            exit(77)
        }
    }

    @Test("a device made by somebody else is taken over whole", .enabled(if: isAble, reason))
    func adopted() throws {
        let name = try NetworkNamespace().inside {
            let made = try TunDevice(name: "adopted%d", options: TunOptions())
            let copy = OwnedDescriptor(owning: dup(made.descriptor))
            let adopted = try TunDevice(adopting: copy)
            #expect(adopted.name == made.name)
            #expect(adopted.offloads == made.offloads)
            #expect(adopted.supportsUDPSegmentation == made.supportsUDPSegmentation)
            return adopted.name
        }
        #expect(name == "adopted0")
    }

    @Test("what is no device of ours is not taken over", .enabled(if: isAble, reason))
    func notAdopted() throws {
        @Sendable func failure(_ number: CInt) -> CInt? {
            do throws(IOError) {
                _ = try TunDevice(adopting: OwnedDescriptor(owning: number))
                return nil
            } catch {
                return error.code
            }
        }
        #expect(failure(dup(0)) == ENODEV)
        #expect(failure(open("/dev/null", O_RDWR)) == ENODEV)
        // The driver's node, attached to no interface yet.
        #expect(failure(open("/dev/net/tun", O_RDWR)) == EBADFD)
        let shared = try NetworkNamespace().inside {
            var options = TunOptions()
            options.isMultiQueue = true
            let made = try TunDevice(name: "queues", options: options)
            return failure(dup(made.descriptor))
        }
        #expect(shared == EINVAL)
    }

    @Test("without CAP_NET_ADMIN an open node does not help", .enabled(if: isAble, reason))
    func noCapability() async {
        await #expect(processExitsWith: .exitCode(77)) {
            let path = "/dev/umbel-tun-\(getpid())"
            let number: dev_t = 10 << 8 | 200  // the driver of TUN
            umask(0)
            guard mknod(path, S_IFCHR | 0o666, number) == 0 else { exit(1) }
            // Opened once more below by the new user, then gone.
            guard setgid(65_534) == 0, seteuid(65_534) == 0 else { exit(2) }
            let error = try failure("umbel-x") { $0.devicePath = path }
            guard seteuid(0) == 0, unlink(path) == 0 else { exit(3) }
            guard let error, error.code == EPERM, error.operation == "create TUN interface",
                error.hint?.contains("CAP_NET_ADMIN") == true
            else { exit(4) }
            exit(77)
        }
    }

}
