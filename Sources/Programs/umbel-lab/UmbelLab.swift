import ArgumentParser
import Yams

@main
struct UmbelLab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "umbel-lab")
}
