import Base

/// The block of memory shards work in; one serves all nodes of a world, in turn.
///
/// No core may keep anything in it from one batch to the next: what others leave here shows that.
final class Arena {
    private var storage = [UInt8](repeating: 0xa5, count: ArenaLayout.byteCount)

    func withBytes<R>(_ body: (inout MutableRawSpan) -> R) -> R {
        unsafe storage.withUnsafeMutableBytes { buffer in
            var bytes = unsafe buffer.mutableBytes
            return body(&bytes)
        }
    }

    func copy(_ range: Range<Int>) -> [UInt8] {
        Array(storage[range])
    }
}
