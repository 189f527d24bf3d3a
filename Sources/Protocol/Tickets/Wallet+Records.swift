import Base
import CryptoPrimitives
import Wire

// What ends, and how all of it is written down.
extension Wallet {
    mutating func expire(in tickets: TicketNetwork, at wall: WallTime) {
        let epoch = UInt64(tickets.epoch(at: wall))
        // Nothing of it is taken or given back any more, or nothing is left of it.
        let isOver = { (voucher: OwnedVoucher) -> Bool in
            let age = UInt64(voucher.content.epoch)
            return age + 5 < epoch
                || (tickets.isReclaimed(voucher.content.epoch, at: wall) && voucher.left < 16)
        }
        guard vouchers.values.contains(where: isOver) else { return }
        let over = owned.filter(isOver)
        var writes: [RecordWrite] = []
        for voucher in over {
            let name = voucher.content.name
            sums.spent += UInt64(voucher.spent ?? 0)
            sums.expired += UInt64(voucher.left)
            vouchers[name] = nil
            writes.append(RecordWrite(table: Table.voucher, key: name.bytes, value: nil))
        }
        writes.append(standing)
        _ = store(writes)
    }

    mutating func drop(_ name: Bytes32) {
        guard let voucher = vouchers.removeValue(forKey: name) else { return }
        sums.spent += UInt64(voucher.spent ?? 0)
        sums.expired += UInt64(voucher.left)
        _ = store([
            RecordWrite(table: Table.voucher, key: name.bytes, value: nil), standing,
        ])
    }

    mutating func store(_ writes: [RecordWrite]) -> UInt64 {
        let number = nextNumber
        nextNumber += 1
        steps.append(.store(number, writes))
        return number
    }

    func write(_ voucher: OwnedVoucher) -> RecordWrite {
        var writer = ByteWriter(capacity: 1_024)
        var voucher = voucher
        if let mark = marks[voucher.content.name] { voucher.spent = max(voucher.spent ?? 0, mark) }
        voucher.write(to: &writer)
        return RecordWrite(
            table: Table.voucher,
            key: voucher.content.name.bytes,
            value: writer.bytes
        )
    }

    var standing: RecordWrite {
        var writer = ByteWriter(capacity: 48)
        for value in [
            sequence, sums.bought, sums.reclaimed, sums.spent, sums.givenBack, sums.expired,
        ] {
            writer.write(value)
        }
        return RecordWrite(table: Table.standing, key: [0], value: writer.bytes)
    }
}

/// Keys of records that are numbers.
enum NumberKey {
    static func key(_ number: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: 8)
        writer.write(number)
        return writer.bytes
    }
}
