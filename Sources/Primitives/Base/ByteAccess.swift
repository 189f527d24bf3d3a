// Big-endian loads and stores on spans, bounds checked in every build.
//
// Views in Wire check a length once and then read with these; a precondition that fails here is a
// fault of ours, never of a peer's bytes.

extension RawSpan {
    /// The big-endian integer whose first byte is at `offset`.
    ///
    /// - Precondition: the integer lies within the span.
    @inlinable
    public func loadBigEndian<T: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int,
        as type: T.Type = T.self
    ) -> T {
        precondition(offset >= 0 && offset <= byteCount - MemoryLayout<T>.size, "load out of span")
        return unsafe T(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: T.self))
    }

    /// The byte at `offset`.
    @inlinable
    public func byte(at offset: Int) -> UInt8 {
        loadBigEndian(at: offset, as: UInt8.self)
    }

    /// A copy of the bytes in `range`.
    public func copyBytes(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "copy out of span")
        return unsafe withUnsafeBytes { buffer in
            unsafe [UInt8](UnsafeRawBufferPointer(rebasing: buffer[range]))
        }
    }
}

extension MutableRawSpan {
    /// The big-endian integer whose first byte is at `offset`.
    ///
    /// - Precondition: the integer lies within the span.
    @inlinable
    public func loadBigEndian<T: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int,
        as type: T.Type = T.self
    ) -> T {
        bytes.loadBigEndian(at: offset, as: type)
    }

    /// The byte at `offset`.
    @inlinable
    public func byte(at offset: Int) -> UInt8 {
        bytes.byte(at: offset)
    }

    /// Writes `value` big-endian with its first byte at `offset`.
    ///
    /// - Precondition: the integer lies within the span.
    @inlinable
    public mutating func storeBigEndian<T: FixedWidthInteger & BitwiseCopyable>(
        _ value: T,
        at offset: Int
    ) {
        precondition(offset >= 0 && offset <= byteCount - MemoryLayout<T>.size, "store out of span")
        unsafe storeBytes(of: value.bigEndian, toUncheckedByteOffset: offset, as: T.self)
    }

    /// Copies `source` whole to `offset`.
    ///
    /// - Precondition: it fits.
    @inlinable
    public mutating func copy(_ source: RawSpan, to offset: Int) {
        precondition(offset >= 0 && offset <= byteCount - source.byteCount, "copy out of span")
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { bytes in
                guard let from = bytes.baseAddress, let to = target.baseAddress else { return }
                unsafe (to + offset).copyMemory(from: from, byteCount: bytes.count)
            }
        }
    }

    /// Copies the bytes of `source` to `offset`.
    ///
    /// - Precondition: they fit.
    public mutating func copy(_ source: [UInt8], to offset: Int) {
        unsafe copy(source.span.bytes, to: offset)
    }

    /// Copies `range` of this span to `offset` of this span; the two may overlap.
    ///
    /// - Precondition: both lie within the span.
    @inlinable
    public mutating func move(_ range: Range<Int>, to offset: Int) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount && offset >= 0
                && offset <= byteCount - range.count,
            "move out of span"
        )
        unsafe withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            unsafe (base + offset).copyMemory(
                from: base + range.lowerBound,
                byteCount: range.count
            )
        }
    }

    /// Sets the bytes in `range` to zero.
    ///
    /// - Precondition: they lie within the span.
    @inlinable
    public mutating func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "zero out of span")
        unsafe withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress, !range.isEmpty else { return }
            unsafe (base + range.lowerBound).initializeMemory(
                as: UInt8.self,
                repeating: 0,
                count: range.count
            )
        }
    }
}
