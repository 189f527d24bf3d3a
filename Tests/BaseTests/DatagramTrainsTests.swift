import Testing

@testable import Base

@Suite("Trains of datagrams")
struct DatagramTrainsTests {
    private func address(_ number: UInt32) -> SocketAddress {
        SocketAddress(ip: IPAddress(v4: 0x0a00_0000 + number), port: 1)
    }

    @Test("each train has what was appended since the one before, an empty one is none")
    func layout() {
        var trains = DatagramTrains()
        trains.endTrain(to: address(9))
        for offset: Int32 in [0, 8] { trains.append(offset) }
        trains.endTrain(to: address(1))
        trains.endTrain(to: address(9))
        trains.append(16)
        trains.endTrain(to: address(2))
        let (offsets, ranges) = (trains.offsets, trains.trains.map(\.range))
        let destinations = trains.trains.map(\.destination)
        #expect(offsets == [0, 8, 16])
        #expect(ranges == [0..<2, 2..<3])
        #expect(destinations == [address(1), address(2)])
    }

    @Test("they keep their storage when they are emptied and filled again")
    func reuse() {
        var trains = DatagramTrains()
        var places: Set<[UInt]> = []
        for _ in 0..<3 {
            for index in 0..<64 {
                trains.append(Int32(index))
                if index % 8 == 7 { trains.endTrain(to: address(UInt32(index))) }
            }
            places.insert([
                trains.places.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) },
                trains.trains.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) },
            ])
            trains.removeAll()
            let isEmpty = trains.isEmpty
            #expect(isEmpty)
        }
        #expect(places.count == 1)
    }
}
