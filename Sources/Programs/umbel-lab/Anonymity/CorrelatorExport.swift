import Anonymity
import Foundation

/// What a correlator is trained on: rates at both ends of each flow, for `Tools/correlator`.
///
/// For each way of sending a file NAME.f32 of little-endian 32-bit floats: for each flow the cells of
/// each bin at the exit, then those of the same flow at the client's link. `index.json` says how many
/// flows and bins there are.
final class CorrelatorExport {
    private struct Index: Encodable {
        var schema = 1
        var seed: UInt64
        var flows: Int
        var bins: Int
        var widthSeconds: Double
        var names: [String]
    }

    /// Seconds of a bin.
    static let width = 0.1

    private let folder: URL
    private let seconds: Double
    private var names: [String] = []

    /// Makes the folder.
    ///
    /// - Throws: ``LabError`` where it cannot be made.
    init(folder: String, seconds: Int) throws(LabError) {
        self.folder = URL(fileURLWithPath: folder)
        self.seconds = Double(seconds)
        do {
            try FileManager.default.createDirectory(
                at: self.folder,
                withIntermediateDirectories: true
            )
        } catch {
            throw LabError("cannot make \(folder)", why: "\(error)")
        }
    }

    /// Writes the rates of one way of sending.
    ///
    /// - Throws: ``LabError`` where they cannot be written.
    func add(_ name: String, exits: [FlowTrace], links: [FlowTrace]) throws(LabError) {
        var data = Data()
        for (exit, link) in zip(exits, links) {
            for trace in [exit, link] {
                for rate in trace.rates(width: Self.width, until: seconds) {
                    let bits = rate.bitPattern
                    for shift in [0, 8, 16, 24] as [UInt32] {
                        data.append(UInt8(truncatingIfNeeded: bits >> shift))
                    }
                }
            }
        }
        try write(data, to: "\(name).f32")
        names.append(name)
    }

    /// Writes the index, last: a folder with one is whole.
    ///
    /// - Throws: ``LabError`` where it cannot be written.
    func finish(seed: UInt64, clients: Int) throws(LabError) {
        let index = Index(
            seed: seed,
            flows: clients,
            bins: FlowTrace().rates(width: Self.width, until: seconds).count,
            widthSeconds: Self.width,
            names: names
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        guard let data = try? encoder.encode(index) else {
            preconditionFailure("numbers and names are always JSON")
        }
        try write(data, to: "index.json")
    }

    private func write(_ data: Data, to name: String) throws(LabError) {
        do {
            try data.write(to: folder.appendingPathComponent(name))
        } catch {
            throw LabError("cannot write \(name) into \(folder.path)", why: "\(error)")
        }
    }
}
