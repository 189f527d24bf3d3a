/// Bytes asked for and bytes that come: one page, one segment of a film, one message.
public struct Transfer: Hashable, Sendable {
    /// When it begins, in seconds from the start.
    public var time: Double
    /// Bytes from the client, at least 1.
    public var uploadByteCount: Int
    /// Bytes to the client, at least 1.
    public var downloadByteCount: Int
    /// Objects it consists of, at least 1.
    public var objectCount: Int

    /// A transfer of one or more objects.
    public init(time: Double, uploadByteCount: Int, downloadByteCount: Int, objectCount: Int = 1) {
        self.time = time
        self.uploadByteCount = max(1, uploadByteCount)
        self.downloadByteCount = max(1, downloadByteCount)
        self.objectCount = max(1, objectCount)
    }
}
