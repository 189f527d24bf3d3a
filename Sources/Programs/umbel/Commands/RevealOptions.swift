import ArgumentParser
import ControlAPI
import Logging
import NodeRuntime

/// Whether a node writes its keys down.
struct RevealOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Write all keys of links and circuits to a new file, for `umbel inspect`.",
            discussion: "Refused without --yes-reveal-keys: whoever has the file reads everything.",
            valueName: "file"
        ),
        completion: .file()
    )
    var revealKeys: String?
    @Flag(help: ArgumentHelp("Really write them.", visibility: .hidden))
    var yesRevealKeys = false

    func validate() throws {
        guard revealKeys != nil, !yesRevealKeys else { return }
        throw ValidationError(
            """
            Keys are not written down: whoever has them reads all this node carries, of its users \
            too. On a network of your own, add --yes-reveal-keys.
            """
        )
    }

    /// The file that is asked for; `nil` for none.
    ///
    /// - Throws: ``Failure`` where it cannot be made.
    func keyLog(_ logger: Logger) throws(Failure) -> KeyLog? {
        guard let revealKeys else { return nil }
        do throws(KeyLogError) {
            let log = try KeyLog(path: revealKeys)
            logger.warning("ALL KEYS OF THIS NODE ARE WRITTEN TO \(revealKeys)")
            return log
        } catch {
            throw Failure(
                "keys cannot be written to \(error.path)",
                why: error.reason,
                hint: "name a file that is not there yet, in a folder of yours",
                exit: .failed
            )
        }
    }
}
