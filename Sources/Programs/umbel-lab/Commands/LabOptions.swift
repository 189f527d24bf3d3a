import ArgumentParser
import Foundation
import Glibc
import HostNetwork

/// Which lab a command is about.
struct LabOptions: ParsableArguments {
    @Option(name: .long, help: "The lab's name, also the prefix of its namespaces.")
    var name = "umbel"

    /// The lab's folder.
    ///
    /// - Throws: ``LabError`` where the name cannot be a lab's or we are not root.
    func folder() throws(LabError) -> LabFolder {
        try LabFolder.check(name: name)
        guard geteuid() == 0 else {
            throw LabError(
                "a lab needs root",
                why: "namespaces, cables and firewalls are made with it",
                hint: "sudo umbel-lab …"
            )
        }
        return LabFolder(lab: name)
    }

    /// Changes the manifest of a lab that is up, holding its lock.
    func change(_ body: (inout Manifest, LabFolder) async throws -> Void) async throws {
        let folder = try folder()
        try await folder.change { try await body(&$0, folder) }
    }
}
