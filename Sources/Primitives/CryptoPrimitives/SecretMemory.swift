import CSodium
import Synchronization

/// Memory for keys: locked into RAM and kept out of core dumps where the system allows, wiped on
/// release.
///
/// Slots are multiples of 64 bytes on 64-byte boundaries, cut from chunks that are locked once,
/// since a lock covers whole pages. A chunk is never given back, so what there is of them is bounded by
/// the most keys ever alive at once. They grow with what was taken before: each is a mapping of its own
/// for the system, and it bounds how many a process has. Blocks above 4 KiB get pages of their own.
public final class SecretMemory: Sendable {
    /// The memory every key uses unless told otherwise.
    public static let shared = SecretMemory()

    private let state = Mutex(State())

    private struct State {
        /// Addresses of free slots by size, in units of ``slotUnit``.
        var free = [[UInt]](repeating: [], count: SecretMemory.largestSlot / slotUnit + 1)
        var unlockedByteCount = 0
        var chunks = Chunks()
    }

    /// What was taken from the system for slots.
    struct Chunks {
        private static let least = 32_768
        private static let most = 2_097_152

        fileprivate(set) var count = 0
        fileprivate(set) var byteCount = 0

        /// The size of the next one: whole pages, an eighth of all before within bounds.
        fileprivate var nextByteCount: Int {
            min(max(Self.least, roundedToPages(byteCount / 8)), Self.most)
        }
    }

    private static let slotUnit = 64
    private static let largestSlot = 4096
    private static let pageByteCount = 4096

    /// Makes memory that shares nothing with ``shared``.
    public init() {
        Sodium.prepare()
    }

    /// Bytes taken so far that the system refused to lock, so that they may reach swap.
    ///
    /// More than zero means the process's limit of locked memory is too small.
    public var unlockedByteCount: Int {
        state.withLock { $0.unlockedByteCount }
    }

    /// What was taken from the system for slots so far.
    var chunks: Chunks {
        state.withLock { $0.chunks }
    }

    /// Takes `byteCount` zero bytes on a 64-byte boundary.
    func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
        guard byteCount <= Self.largestSlot else {
            let rounded = Self.roundedToPages(byteCount)
            let (block, isLocked) = unsafe Self.takePages(rounded)
            if !isLocked { state.withLock { $0.unlockedByteCount += rounded } }
            return unsafe block
        }
        let slot = Self.slotIndex(byteCount)
        let address = state.withLock { state in
            if state.free[slot].isEmpty {
                let byteCount = state.chunks.nextByteCount
                let (chunk, isLocked) = unsafe Self.takePages(byteCount)
                state.chunks.count += 1
                state.chunks.byteCount += byteCount
                if !isLocked { state.unlockedByteCount += byteCount }
                let size = slot * Self.slotUnit
                let first = UInt(bitPattern: chunk)
                for index in 0..<byteCount / size {
                    state.free[slot].append(first + UInt(index * size))
                }
            }
            return state.free[slot].removeLast()
        }
        guard let block = unsafe UnsafeMutableRawPointer(bitPattern: address) else {
            preconditionFailure("a free slot at address zero")
        }
        return unsafe block
    }

    /// Wipes the `byteCount` bytes at `block` and takes them back.
    ///
    /// - Precondition: ``allocate(byteCount:)`` of this memory gave `block` for that count.
    func release(_ block: UnsafeMutableRawPointer, byteCount: Int) {
        unsafe sodium_memzero(block, byteCount)
        guard byteCount <= Self.largestSlot else {
            _ = unsafe sodium_munlock(block, Self.roundedToPages(byteCount))
            unsafe block.deallocate()
            return
        }
        let address = UInt(bitPattern: block)
        state.withLock { $0.free[Self.slotIndex(byteCount)].append(address) }
    }

    private static func slotIndex(_ byteCount: Int) -> Int {
        max(1, (byteCount + slotUnit - 1) / slotUnit)
    }

    private static func roundedToPages(_ byteCount: Int) -> Int {
        (byteCount + pageByteCount - 1) / pageByteCount * pageByteCount
    }

    private static func takePages(_ byteCount: Int) -> (UnsafeMutableRawPointer, isLocked: Bool) {
        let pages = UnsafeMutableRawPointer.allocate(
            byteCount: byteCount,
            alignment: pageByteCount
        )
        unsafe pages.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        return unsafe (pages, sodium_mlock(pages, byteCount) == 0)
    }
}

/// The owner of one block of ``SecretMemory``, wiped when its owner ends.
///
/// Sendable although it holds a pointer: the pointer never leaves but for the length of a call, reads
/// borrow the block, and writes need it as `var`, so the compiler's exclusivity rules cover it.
@safe
struct SecretBlock: ~Copyable, @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    private let memory: SecretMemory
    /// Bytes in the block.
    let byteCount: Int

    /// Takes `byteCount` zero bytes from `memory`.
    init(byteCount: Int, in memory: SecretMemory) {
        unsafe base = memory.allocate(byteCount: byteCount)
        self.memory = memory
        self.byteCount = byteCount
    }

    deinit {
        unsafe memory.release(base, byteCount: byteCount)
    }

    /// The bytes, for as long as the block lives and is not written.
    @unsafe var start: UnsafeRawPointer {
        unsafe UnsafeRawPointer(base)
    }

    /// The bytes for writing, for the length of one statement.
    @unsafe var mutableStart: UnsafeMutableRawPointer {
        mutating get { unsafe base }
    }
}
