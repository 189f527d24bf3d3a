import Testing

@testable import Wire

@Suite("Modes, slots, rates and holds on the wire")
struct TrafficShapeTests {
    private func message(mode: UInt8, slot: UInt16, up: UInt8 = 0, down: UInt8 = 0) -> [UInt8] {
        var message = ClientMessage(hop: 2, minute: 7)
        message.mode = mode
        message.slot = slot
        message.upRate = up
        message.downRate = down
        return message.encoded
    }

    @Test(
        "the modes there are come through",
        arguments: [
            (0, 0, TrafficShape.fast), (1, 0, .padded), (2, 250, .mix(.twoAndAHalfMilliseconds)),
            (2, 500, .mix(.fiveMilliseconds)), (2, 1_000, .mix(.tenMilliseconds)),
            (2, 2_000, .mix(.twentyMilliseconds)),
        ] as [(UInt8, UInt16, TrafficShape)]
    )
    func good(mode: UInt8, slot: UInt16, shape: TrafficShape) throws {
        let parsed = try ClientMessage(parsing: message(mode: mode, slot: slot, up: 3, down: 3))
        #expect(parsed.shape == shape)
        #expect(shape.mode == mode && shape.slot == slot)
    }

    @Test(
        "a mode, slot or rate that is out of range is refused",
        arguments: [
            (0, 1_000, 0, 0), (1, 1_000, 0, 0), (2, 0, 0, 0), (2, 999, 0, 0), (2, 4_000, 0, 0),
            (3, 0, 0, 0), (255, 1_000, 0, 0), (1, 0, 4, 0), (1, 0, 0, 4), (2, 1_000, 255, 0),
        ] as [(UInt8, UInt16, UInt8, UInt8)]
    )
    func bad(mode: UInt8, slot: UInt16, up: UInt8, down: UInt8) {
        #expect(throws: WireError.self) {
            try ClientMessage(parsing: message(mode: mode, slot: slot, up: up, down: down))
        }
    }

    @Test("each hop is told what it has a part in, and the exit nothing")
    func told() {
        let mix = TrafficShape.mix(.tenMilliseconds)
        #expect(HopIndex.all.map { mix.told(to: $0) } == [mix, mix, .fast])
        #expect(HopIndex.all.map { TrafficShape.padded.told(to: $0) } == [.fast, .padded, .fast])
        #expect(HopIndex.all.map { TrafficShape.fast.told(to: $0) } == [.fast, .fast, .fast])
    }

    @Test(
        "holds, groups and slots of a consensus that are out of range are refused",
        arguments: [
            ("mix-hold-minimum-slots", 4), ("mix-hold-minimum-slots", 64),
            ("mix-hold-limit-slots", 5), ("mix-hold-limit-slots", 65), ("recovery-data-cells", 5),
            ("recovery-parity-cells", 0), ("mix-slot", 249), ("mix-slot", 2_001),
        ] as [(String, UInt32)]
    )
    func consensus(name: String, value: UInt32) {
        var parameters = NetworkParameters.production
        #expect(throws: WireError.self) { try parameters.set(name, to: value) }
    }

    @Test("a hold that ends before it begins, and a slot between those there are, are refused")
    func related() throws {
        var holds = NetworkParameters.production
        try holds.set("mix-hold-minimum-slots", to: 25)
        #expect(throws: WireError.self) { try holds.validate() }
        var slots = NetworkParameters.production
        try slots.set("mix-slot", to: 999)
        #expect(throws: WireError.self) { try slots.validate() }
        #expect(NetworkParameters.production.mixHold == .standard)
        #expect(NetworkParameters.production.defaultSlot == .tenMilliseconds)
        #expect(HoldRange(5, 5) == nil && HoldRange(4, 25) == nil && HoldRange(5, 65) == nil)
    }
}
