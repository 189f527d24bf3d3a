/// A bounded table whose elements keep their index until they are removed.
///
/// Elements are mutated where they lie. Grows by doubling up to `limit`; the index of a removed
/// element is used again, so holders outside the owner name elements by an identifier of their own.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
    @usableFromInline var elements: UnsafeMutablePointer<Element>
    // For a free slot the next free one, or -1 at the end; -2 marks an occupied slot.
    @usableFromInline var links: UnsafeMutablePointer<Int32>
    @usableFromInline var capacity: Int
    @usableFromInline var firstFree: Int32 = -1
    /// How many elements there are.
    public private(set) var count = 0
    /// How many there may be.
    public let limit: Int

    /// Makes an empty slab for at most `limit` elements.
    public init(limit: Int) {
        precondition(limit > 0 && limit < Int(Int32.max), "slab limit out of range")
        self.limit = limit
        capacity = 0
        unsafe elements = .allocate(capacity: 1)
        unsafe links = .allocate(capacity: 1)
    }

    deinit {
        for index in 0..<capacity where unsafe links[index] == -2 {
            unsafe (elements + index).deinitialize(count: 1)
        }
        unsafe elements.deallocate()
        unsafe links.deallocate()
    }

    /// One past the highest index ever used: walk `0..<endIndex` and ask ``contains(_:)``.
    public var endIndex: Int {
        capacity
    }

    /// Whether no further element fits.
    public var isFull: Bool {
        count == limit
    }

    /// Whether `index` holds an element.
    @inlinable
    public func contains(_ index: Int) -> Bool {
        unsafe index >= 0 && index < capacity && links[index] == -2
    }

    /// Stores `element` and returns its index.
    ///
    /// - Precondition: the slab is not full.
    public mutating func insert(_ element: consuming Element) -> Int {
        precondition(!isFull, "slab is full")
        if firstFree < 0 { grow() }
        let index = Int(firstFree)
        unsafe firstFree = links[index]
        unsafe links[index] = -2
        unsafe (elements + index).initialize(to: element)
        count += 1
        return index
    }

    /// Takes the element at `index` out.
    ///
    /// - Precondition: the slot is occupied.
    public mutating func remove(at index: Int) -> Element {
        precondition(contains(index), "no element at this index")
        unsafe links[index] = firstFree
        firstFree = Int32(index)
        count -= 1
        return unsafe (elements + index).move()
    }

    /// The element at `index`, read or mutated in place.
    ///
    /// - Precondition: the slot is occupied.
    @inlinable
    public subscript(index: Int) -> Element {
        _read {
            precondition(contains(index), "no element at this index")
            yield unsafe elements[index]
        }
        _modify {
            precondition(contains(index), "no element at this index")
            yield unsafe &elements[index]
        }
    }

    private mutating func grow() {
        let wider = min(limit, max(8, capacity * 2))
        let newElements = UnsafeMutablePointer<Element>.allocate(capacity: wider)
        let newLinks = UnsafeMutablePointer<Int32>.allocate(capacity: wider)
        // Only called when every slot is occupied, so all of them move.
        unsafe newElements.moveInitialize(from: elements, count: capacity)
        for index in 0..<wider {
            unsafe newLinks[index] =
                index < capacity ? -2 : (index + 1 < wider ? Int32(index + 1) : -1)
        }
        firstFree = Int32(capacity)
        unsafe elements.deallocate()
        unsafe links.deallocate()
        unsafe elements = newElements
        unsafe links = newLinks
        capacity = wider
    }
}

// Sound: the slab is the only owner of its memory and is never shared, only moved.
extension Slab: @unchecked Sendable where Element: Sendable & ~Copyable {}
