import CLinux
public import EventLoop
import Foundation

/// A program that works for this one: without rights, without files but those of the system, and killed
/// when the thread that started it ends.
///
/// Owned by that thread. What it writes waits at ``outputDescriptor``, its end shows at
/// ``processDescriptor``; both are for a ``Poller``. When the value goes, the program is killed.
public struct ConfinedProgram: ~Copyable {
    /// Who it is where this process is root: nobody, of the group of nobody's.
    private static let nobody: UInt32 = 65_534
    /// Bytes of a pipe that nobody reads: more would stand still.
    private static let inputLimit = 60_000

    private let program: clinux_confined
    private let process: OwnedDescriptor
    private let output: OwnedDescriptor
    private var status: Int32?

    /// Starts `command`, which begins with a path, and gives it `input` to read.
    ///
    /// - Throws: ``IOError`` where it cannot be started.
    public init(_ command: [String], input: String) throws(IOError) {
        let text = Array(input.utf8)
        guard let path = command.first, text.count <= Self.inputLimit else {
            throw IOError("start", command.first ?? "no program", code: E2BIG)
        }
        let given = try Self.pipe()
        let reading = OwnedDescriptor(owning: given.reading)
        let writing = OwnedDescriptor(owning: given.writing)
        let said = try Self.pipe()
        let output = OwnedDescriptor(owning: said.reading)
        let target = OwnedDescriptor(owning: said.writing)
        // One who opens what it was given by name must own it.
        if geteuid() == 0 { fchown(reading.number, Self.nobody, Self.nobody) }
        guard unsafe write(writing.number, text, text.count) == text.count else {
            throw IOError("write to", "a pipe", code: errno)
        }
        var confinement = clinux_confinement()
        confinement.user = Self.nobody
        confinement.group = Self.nobody
        confinement.input = reading.number
        confinement.output = target.number
        var started = clinux_confined()
        var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe arguments.forEach { unsafe free($0) }
        }
        let result = unsafe clinux_confined_start(&arguments, &confinement, &started)
        guard result == 0 else { throw IOError("start", path, code: -result) }
        do throws(IOError) {
            process = try OwnedDescriptor(
                clinux_process_open(started.pid),
                "watch",
                "process \(started.pid)"
            )
        } catch {
            kill(started.pid, SIGKILL)
            throw error
        }
        _ = fcntl(output.number, F_SETFL, O_NONBLOCK)
        program = started
        self.output = output
    }

    deinit {
        guard status == nil else { return }
        kill(program.pid, SIGKILL)
        while clinux_child_status(program.pid) == -EAGAIN { Self.wait(process.number, 100) }
    }

    /// Its number.
    public var pid: Int32 { program.pid }

    /// Whether the kernel keeps files from it; older ones (before 5.13) cannot.
    public var isWithoutFiles: Bool { program.is_without_files }

    /// Readable when it has ended.
    public var processDescriptor: CInt { process.number }

    /// Readable when it has written something, or closed its output.
    public var outputDescriptor: CInt { output.number }

    /// What it wrote since the last call; `nil` once it writes no more.
    public mutating func readOutput() -> String? {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = unsafe read(output.number, &buffer, buffer.count)
        if count == 0 { return nil }
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    /// How it ended, in words; `nil` while it runs.
    public mutating func ending() -> String? {
        if status == nil {
            let found = clinux_child_status(program.pid)
            if found == -EAGAIN { return nil }
            status = found
        }
        guard let status, status >= 0 else { return "it has ended" }
        // As <sys/wait.h> takes the word apart.
        let signal = status & 0x7f
        return signal == 0
            ? "it ended with status \(status >> 8 & 0xff)" : "it was ended by signal \(signal)"
    }

    /// Has it end, and waits until it has: kills it after `patience`, in milliseconds.
    public mutating func end(withinMilliseconds patience: Int32) {
        guard ending() == nil else { return }
        kill(program.pid, SIGTERM)
        // One that is stopped hears nothing until it goes on.
        kill(program.pid, SIGCONT)
        Self.wait(process.number, patience)
        if ending() == nil { kill(program.pid, SIGKILL) }
        while ending() == nil { Self.wait(process.number, 100) }
    }

    private static func wait(_ descriptor: CInt, _ milliseconds: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&entry, 1, milliseconds)
    }

    private static func pipe() throws(IOError) -> (reading: CInt, writing: CInt) {
        var ends: [CInt] = [-1, -1]
        guard unsafe Glibc.pipe(&ends) == 0 else {
            throw IOError("create", "a pipe", code: errno)
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }
}
