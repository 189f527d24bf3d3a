import Base
import CryptoPrimitives
import Directory
import Wire

/// What the directory weighs, encoded as the product does it.
public struct DirectoryFigures: Hashable, Sendable {
    /// The whole document with the signatures of three of four authorities.
    public var documentByteCount = 0
    /// The change of one interval.
    public var diffByteCount = 0
    /// Records a change brings: relays with a new key, and those that are back.
    public var changedRecordCount = 0
    /// Relays a change takes off the list.
    public var goneCount = 0
    /// A client's or relay's first day: the document once, then changes.
    public var firstDayByteCount = 0.0
    /// Any day after.
    public var dayByteCount = 0.0

    /// Relays change their circuit keys once a day.
    private static let keyLifeSeconds = 86_400.0
    private static let signerCount = 3
    private static let signatureByteCount = 64

    init() {}

    /// Weighs a document and the change to the next one, in which each relay that is due has a new
    /// key, those are gone that are down then, and as many are back.
    ///
    /// Weights stay: authorities that measure anew and differ would change every record.
    /// - Throws: `WireError` where a document cannot be written down.
    init(_ network: DrawnNetwork, _ plan: NetworkPlan, streams: Streams) throws(WireError) {
        let interval = Double(max(1, plan.parameters.intervalSeconds))
        var random = streams.generator(.keys, 2)
        var old = network.view.consensus
        // A document that follows another names it.
        old.logSize = 1
        old.previousDigest = random.bytes32()
        let relays = old.relays
        let gone = Set(relays.indices.filter { !network.uptimes.isUp($0, at: Float(interval)) })
        // In a steady state as many come back as go; which ones does not matter.
        let back = Set(relays.indices.filter { !gone.contains($0) }.prefix(gone.count))
        var new = old
        let renewedShare = min(1, interval / Self.keyLifeSeconds)
        var due = 0.0
        for index in new.relays.indices {
            due += renewedShare
            guard due >= 1 else { continue }
            due -= 1
            new.relays[index].circuitKey = random.bytes(1_216)
        }
        old.relays = relays.indices.filter { !back.contains($0) }.map { relays[$0] }
        new.relays = new.relays.indices.filter { !gone.contains($0) }.map { new.relays[$0] }
        for path in [\Consensus.validAfter, \.freshUntil, \.validUntil] {
            new[keyPath: path] = new[keyPath: path] + UInt64(interval)
        }
        new.logSize = 2
        var signatures: [ConsensusSignature] = []
        for index in 0..<Self.signerCount {
            signatures.append(
                try ConsensusSignature(
                    index: UInt8(index),
                    bytes: random.bytes(Self.signatureByteCount)
                )
            )
        }
        let diff = ConsensusDiff(from: old, .zero, to: new, .zero, signatures: signatures)
        // Length, body, count, and of each signature index and bytes.
        documentByteCount =
            4 + (try old.encoded().count) + 1 + Self.signerCount * (1 + Self.signatureByteCount)
        diffByteCount = try diff.encoded().count
        changedRecordCount = diff.records.count
        goneCount = diff.gone.count
        let perDay = 86_400 / interval
        dayByteCount = perDay * Double(diffByteCount)
        firstDayByteCount = Double(documentByteCount) + dayByteCount
    }
}
