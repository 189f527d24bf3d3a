// umbel-lab: whole networks for real, in namespaces of one machine.
//
// Duty: read a topology (`Topology/`), remember everything that is made before it is made
// (`State/`), lay namespaces and cables and start the programs (`Build/`), and break them on
// demand (`Faults/`). Each subcommand is a file in `Commands/`; names, options and exit
// statuses are a contract that demos, tests and measurements build on.
// Not its duty: what the programs do. It knows `umbel` only by its command line, in one file,
// `DaemonLauncher.swift`.
//
// A lab's way: `TopologyReader` → `Topology`; `LabFolder` claims the name; `NetworkBuilder` makes a
// namespace per host around the core router; `ServiceLauncher` and `DaemonLauncher` start what
// runs in them; `LabRemoval` takes all of it away from the `Manifest` alone.

import ArgumentParser

@main
struct UmbelLab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "umbel-lab",
        abstract: "Runs a whole Umbel network in network namespaces of this machine.",
        discussion: """
            Nothing leaves the namespaces. Two labs can stand side by side under different \
            names (--name). Needs root, iproute2, nftables and the programs a topology uses.
            """,
        subcommands: [
            UpCommand.self, ExecCommand.self, StatusCommand.self, KillCommand.self,
            StartCommand.self, ImpairCommand.self, CaptureCommand.self, DownCommand.self,
            MoneyCommand.self, MeasureCommand.self, AnonymityCommand.self, SimulateCommand.self,
            BridgeCommand.self,
        ]
    )
}
