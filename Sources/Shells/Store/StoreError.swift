/// Why records are not to be had or not written.
public enum StoreError: Error, Hashable, Sendable {
    /// The file cannot be opened.
    case unopenable(String, String)
    /// Another process has it open.
    case inUse(String)
    /// It is damaged.
    case damaged(String)
    /// It is not of this program, or of another version of it.
    case foreign(id: Int, schema: Int)
    /// It is older than what this machine has seen: a copy was put back.
    case older(file: Int, seen: Int)
    /// SQLite does not sync each commit.
    case notSynced(Int)
    /// It cannot be written.
    case unwritable(String, String)
}

extension StoreError: CustomStringConvertible {
    /// What and why.
    public var description: String {
        switch self {
        case .unopenable(let path, let why): "\(path) cannot be opened: \(why)"
        case .inUse(let path): "\(path) is in use by another process"
        case .damaged(let why): "the records are damaged: \(why)"
        case .foreign(let id, let schema):
            "the file is not of this program (application \(id), schema \(schema))"
        case .older(let file, let seen):
            "the file is an old copy (opened \(file) times, seen \(seen)): what happened since"
                + " would happen twice"
        case .notSynced(let mode): "SQLite does not sync commits (synchronous = \(mode))"
        case .unwritable(let path, let why): "\(path) cannot be written: \(why)"
        }
    }

    /// What to do about it.
    public var hint: String {
        switch self {
        case .unopenable: "check the folder and who runs this"
        case .inUse:
            "a program with the same state folder runs already: end it, or give this one another"
        case .damaged: "put the newest backup in their place"
        case .foreign: "move the file away"
        case .older:
            "put the newest file back, or remove the .mark beside it if it is lost for good"
        case .notSynced: "build with SQLite as it comes"
        case .unwritable: "check the disk, and who may write there"
        }
    }
}
