import Foundation

/// What whoever runs the tests asks for by the environment.
enum CommandLineSetting {
    static func has(_ name: String) -> Bool {
        ProcessInfo.processInfo.environment[name] != nil
    }
}
