public import Base
public import CryptoPrimitives
public import Tickets
public import Wire

/// One mint: takes requests, votes, signs blindly, keeps the ledger, tells the other mints.
///
/// Sans-IO. Feed requests, outcomes of jobs and of commits; drain ``nextAction()`` after each call.
/// At most one commit is under way; what changes meanwhile is committed together by the next. Only
/// after ``committed(_:)`` replies leave. After a failed commit it refuses everything until
/// ``reload(_:)``: memory may be ahead of the disk. Not thread-safe: owned by one task.
///
/// Bounds: ``requestLimit`` requests under way. Spec: §A.4.
public struct MintControl: Sendable {
    /// Requests under way, at most; further ones are told to come again.
    public static let requestLimit = 256
    /// The table of the mint's own keys on disk.
    public static let keyTable: UInt8 = 6

    /// What a mint is.
    public struct Identity: Sendable {
        /// The network.
        public let network: NetworkID
        /// Its index among the mints.
        public let index: UInt8
        /// Its Ed25519 key.
        public let key: Ed25519.SigningKey
        /// The keys that give money, by index.
        public let admins: [Bytes32]
        /// How many of them must sign a grant.
        public let grantThreshold: Int

        /// Puts an identity together.
        public init(
            network: NetworkID,
            index: UInt8,
            key: Ed25519.SigningKey,
            admins: [Bytes32],
            grantThreshold: Int
        ) {
            self.network = network
            self.index = index
            self.key = key
            self.admins = admins
            self.grantThreshold = grantThreshold
        }
    }

    /// Something for the shell to do.
    public enum Action: Sendable {
        /// Put these on disk, all or none, and say so by ``MintControl/committed(_:)``.
        case commit([RecordWrite])
        /// Answer the request with this token.
        case reply(UInt64, MintReply)
        /// Do key work.
        case job(MintJob)
        /// Tell these other mints, and say by ``MintControl/told(_:to:)`` who has taken it.
        case tell(UInt64, MintRequest, to: [UInt8])
        /// There are other keys or totals to announce.
        case announce
    }

    private enum Work: Sendable {
        case order(MintOrder, token: UInt64)
        case deposit(relay: NodeID, rows: [PayOpen], names: [Bytes32?], token: UInt64)
        case reclaim(MintReclaim, name: Bytes32, digest: Bytes32, token: UInt64)
        case claimCheck(MintReclaim, blinded: [[UInt8]], token: UInt64)

        var token: UInt64 {
            switch self {
            case .order(_, let token), .deposit(_, _, _, let token),
                .reclaim(_, _, _, let token), .claimCheck(_, _, let token):
                token
            }
        }
    }

    private let identity: Identity
    /// The ledger, as memory has it.
    public private(set) var ledger: Ledger
    private var tickets: TicketNetwork?
    private var keys: [UInt32: [BlindRSA.PrivateKey]] = [:]
    private var makingKeys: Set<UInt32> = []
    private var work: [UInt64: Work] = [:]
    private var nextTicket: UInt64 = 1
    private var busy: Set<Bytes32> = []
    private var closing: Set<Bytes32> = []
    private var actions: [Action] = []
    private var isCommitting = false
    private var held: [Action] = []
    private var leaving: [Action] = []
    private var extraWrites: [RecordWrite] = []
    private var outbox: Outbox
    private var hasToldRest = false
    /// Whether a commit failed, and memory is not to be trusted.
    public private(set) var hasFailed = false

    /// Makes a mint of what is on disk.
    ///
    /// - Throws: ``WireError`` for records that are none of a mint's.
    public init(identity: Identity, records: [StoredRecord]) throws(WireError) {
        self.identity = identity
        ledger = try Ledger(records)
        outbox = try Outbox(records)
        try readKeys(records)
    }

    private mutating func readKeys(_ records: [StoredRecord]) throws(WireError) {
        var ders: [UInt32: [Int: [UInt8]]] = [:]
        for record in records where record.table == Self.keyTable {
            var reader = ByteReader(record.key)
            let epoch = try reader.read(UInt32.self)
            ders[epoch, default: [:]][Int(try reader.read(UInt8.self))] = record.value
        }
        for (epoch, byCode) in ders {
            var list: [BlindRSA.PrivateKey] = []
            for code in Denomination.allCases.indices {
                guard let der = byCode[code], let key = try? BlindRSA.PrivateKey(der: der) else {
                    throw .invalid(field: "mint key")
                }
                list.append(key)
            }
            keys[epoch] = list
        }
    }

    /// Begins anew with what is on disk, after a commit failed.
    ///
    /// - Throws: ``WireError``.
    public mutating func reload(_ records: [StoredRecord]) throws(WireError) {
        ledger = try Ledger(records)
        outbox = try Outbox(records)
        hasToldRest = false
        keys = [:]
        try readKeys(records)
        hasFailed = false
        isCommitting = false
        held = []
        leaving = []
        extraWrites = []
        work = [:]
        busy = []
        closing = []
        makingKeys = []
    }

    // MARK: Outputs

    /// Takes the next action.
    public mutating func nextAction() -> Action? {
        if actions.isEmpty { beginCommit() }
        return actions.isEmpty ? nil : actions.removeFirst()
    }

    /// What it announces of itself, to be signed.
    public func announcement(
        at wall: WallTime,
        sealingKey: Bytes32,
        addresses: [SocketAddress]
    ) -> MintAnnouncement {
        let epochs = keys.keys.sorted().suffix(6).compactMap {
            epoch -> MintAnnouncement.EpochKeys? in
            let ders = (keys[epoch] ?? []).compactMap { try? $0.publicKey().der }
            let isWhole = ders.count == Denomination.allCases.count
            return isWhole ? .init(epoch: epoch, keys: ders) : nil
        }
        var announcement = MintAnnouncement(
            network: identity.network,
            index: identity.index,
            key: identity.key.publicKey,
            published: wall,
            sealingKey: sealingKey,
            addresses: addresses,
            epochs: epochs,
            totals: Array(ledger.epochTotals.suffix(8)),
            burnt: ledger.burnt
        )
        // Its lists are within bounds by what was taken above.
        try? announcement.sign(with: identity.key)
        return announcement
    }

    // MARK: Time and network

    /// Takes the mints as the newest consensus has them.
    public mutating func setTickets(_ tickets: TicketNetwork) {
        self.tickets = tickets
        guard !hasToldRest else { return }
        // What an earlier run did not tell.
        hasToldRest = true
        for (number, item) in outbox.waiting {
            actions.append(.tell(number, item.request, to: item.mints.sorted()))
        }
    }

    /// Learns that a mint has taken what it was told.
    public mutating func told(_ number: UInt64, to mint: UInt8) {
        outbox.noteTold(number, to: mint)
    }

    private mutating func tell(_ request: MintRequest) {
        let count = UInt8(clamping: tickets?.mintCount ?? 0)
        let others = Set((0..<count).filter { $0 != identity.index })
        guard let number = outbox.add(request, to: others) else { return }
        held.append(.tell(number, request, to: others.sorted()))
    }

    /// Makes keys of the epochs that need some, and drops those that are over.
    public mutating func keepKeys(epochSeconds: UInt32, at wall: WallTime) {
        let seconds = UInt64(max(1, epochSeconds))
        let epoch = UInt32(clamping: wall.seconds / seconds)
        var wanted: Set<UInt32> = [epoch]
        // Published two sevenths ahead, so that a consensus carries them before they count.
        if (wall.seconds + seconds * 2 / 7) / seconds > UInt64(epoch) { wanted.insert(epoch &+ 1) }
        for missing in wanted.sorted() where keys[missing] == nil && !makingKeys.contains(missing) {
            makingKeys.insert(missing)
            actions.append(.job(.makeKeys(epoch: missing)))
        }
        // Vouchers of four epochs ago are neither deposited nor given back.
        for old in keys.keys.sorted() where UInt64(old) + 5 < UInt64(epoch) {
            keys[old] = nil
            for denomination in Denomination.allCases {
                extraWrites.append(
                    RecordWrite(
                        table: Self.keyTable,
                        key: Self.keyName(old, denomination.rawValue),
                        value: nil
                    )
                )
            }
        }
    }

    private static func keyName(_ epoch: UInt32, _ code: UInt8) -> [UInt8] {
        var writer = ByteWriter(capacity: 5)
        writer.write(epoch)
        writer.write(code)
        return writer.bytes
    }

    // MARK: Requests

    /// Takes a request; its answer bears `token`.
    public mutating func receive(_ request: MintRequest, token: UInt64, at wall: WallTime) {
        guard !hasFailed, let tickets else { return refuse(token, .unavailable) }
        guard work.count < Self.requestLimit else { return refuse(token, .busy) }
        switch request {
        case .inquiry(let account, let minute, let signature):
            inquire(account, minute: minute, signature, token: token, at: wall)
        case .order(let order, let certificates, let blinded):
            take(certificates, in: tickets)
            receive(order, blinded: blinded, token: token, in: tickets, at: wall)
        case .certificates(let certificates):
            take(certificates, in: tickets)
            answer(token, .taken([]))
        case .grant(let grant):
            receive(grant, token: token)
        case .deposit(let relay, let rows):
            receive(rows, of: relay, token: token, in: tickets, at: wall)
        case .reclaim(let claim, let blinded):
            receive(claim, blinded: blinded, token: token, in: tickets, at: wall)
        }
    }

    private mutating func inquire(
        _ account: Bytes32,
        minute: UInt32,
        _ signature: [UInt8],
        token: UInt64,
        at wall: WallTime
    ) {
        let isNear = minute <= wall.minute &+ 5 && wall.minute <= minute &+ 5
        let isSigned = Ed25519.isValid(
            signature,
            of: MintRequest.inquiryBody(account: account, minute: minute),
            by: account,
            label: .order,
            network: identity.network.rawValue
        )
        guard isNear, isSigned else { return refuse(token, .malformed) }
        let standing = ledger.standing(of: account)
        // Behind what is being committed: it must not tell of what may yet be lost.
        answer(
            token,
            .account(
                next: standing.next,
                certified: standing.certified,
                balance: ledger.balance(of: account)
            )
        )
    }

    private mutating func receive(_ grant: MintGrant, token: UInt64) {
        guard
            grant.isValid(
                network: identity.network,
                admins: identity.admins,
                threshold: identity.grantThreshold
            )
        else { return refuse(token, .malformed) }
        if ledger.take(grant) { tell(.grant(grant)) }
        answer(token, .taken([]))
    }

    private mutating func take(_ certificates: [OrderCertificate], in tickets: TicketNetwork) {
        for certificate in certificates.sorted(by: { $0.order.sequence < $1.order.sequence }) {
            let key = Ledger.OrderKey(
                account: certificate.order.account,
                sequence: certificate.order.sequence
            )
            guard ledger.orders[key]?.certificate == nil, tickets.isValid(certificate) else {
                continue
            }
            if ledger.take(certificate) { tell(.certificates([certificate])) }
        }
    }

    // MARK: Orders

    private mutating func receive(
        _ order: MintOrder,
        blinded: [[UInt8]],
        token: UInt64,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        guard tickets.isSigned(order) else { return refuse(token, .malformed) }
        let row = ledger.orders[Ledger.OrderKey(account: order.account, sequence: order.sequence)]
        if let row {
            guard row.order == order else {
                return refuse(token, .conflict, detail: order.sequence)
            }
            if !row.reply.isEmpty, let reply = try? MintReply(parsing: row.reply) {
                return answer(token, reply)
            }
        }
        guard !busy.contains(order.account) else { return refuse(token, .busy) }
        let certified = ledger.standing(of: order.account).certified
        guard certified >= order.sequence else {
            return refuse(token, .needsCertificates, detail: certified)
        }
        let balance = ledger.balance(of: order.account)
        guard row != nil || order.cost <= balance else {
            return refuse(token, .balance, detail: balance.hundredths)
        }
        switch order.content {
        case .transfer:
            vote(for: order, blind: [], token: token)
        case .withdraw(let epoch, let denomination, let count, let lists):
            guard let own = signingKeys(epoch, in: tickets, at: wall) else {
                return refuse(token, .notSigning)
            }
            guard lists.count == tickets.mintCount, blinded.count == count,
                SHA256.digest(blinded.flatMap(\.self)) == lists[Int(identity.index)]
            else { return refuse(token, .wrongList) }
            busy.insert(order.account)
            let keys = Array(repeating: own[denomination.index], count: count)
            begin(.order(order, token: token)) { .sign(ticket: $0, keys: keys, blinded) }
        }
    }

    /// The keys it signs vouchers of `epoch` with, by denomination code; `nil` where it signs none.
    private func signingKeys(
        _ epoch: UInt32,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) -> [BlindRSA.PrivateKey]? {
        let set = tickets.designated(epoch: epoch, version: tickets.setVersion)
        guard tickets.isFinished(epoch, at: wall), set.contains(identity.index) else { return nil }
        return keys[epoch]
    }

    private mutating func vote(for order: MintOrder, blind: [[UInt8]], token: UInt64) {
        let key = Ledger.OrderKey(account: order.account, sequence: order.sequence)
        // A certificate of another order may have come while this one was signed.
        guard ledger.orders[key].map({ $0.order == order }) ?? true else {
            return refuse(token, .conflict, detail: order.sequence)
        }
        let signature = identity.key.sign(
            SHA256.digest(order.encoded).bytes,
            label: .vote,
            network: identity.network.rawValue
        )
        let reply = MintReply.vote(signature: signature, blindSignatures: blind)
        ledger.vote(for: order, reply: reply.encoded)
        answer(token, reply)
    }

    // MARK: Deposits

    private mutating func receive(
        _ rows: [PayOpen],
        of relay: NodeID,
        token: UInt64,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        var checks: [VoucherCheck] = []
        // `nil`: not to be taken. What is on record as deep needs no key work.
        var names: [Bytes32?] = []
        for row in rows {
            let name = row.voucher.content(network: identity.network, relay: relay).name
            let known = ledger.deposits[name]
            let isKnown = known.map { $0.isClosed || $0.index >= row.place.index } ?? false
            guard !isKnown, tickets.isDeposited(row.voucher.epoch, at: wall),
                let check = try? VoucherCheck(row, relay: relay, in: tickets)
            else {
                names.append(nil)
                continue
            }
            names.append(name)
            checks.append(check)
        }
        begin(.deposit(relay: relay, rows: rows, names: names, token: token)) {
            .check(ticket: $0, checks)
        }
    }

    private mutating func finishDeposit(
        _ relay: NodeID,
        _ rows: [PayOpen],
        _ names: [Bytes32?],
        _ results: [Bool],
        token: UInt64
    ) {
        guard let tickets else { return refuse(token, .unavailable) }
        var results = results[...]
        var changed: [PayOpen] = []
        var indexes: [UInt32] = []
        for (row, name) in zip(rows, names) {
            if let name, results.popFirst() == true,
                ledger.deposit(name, row, relay: relay, in: tickets)
            {
                changed.append(row)
            }
            let known = row.voucher.content(network: identity.network, relay: relay).name
            indexes.append(ledger.deposited(known) ?? 0)
        }
        if !changed.isEmpty { tell(.deposit(relay: relay, rows: changed)) }
        answer(token, .taken(indexes))
    }

    // MARK: Reclaims

    private mutating func receive(
        _ claim: MintReclaim,
        blinded: [[UInt8]],
        token: UInt64,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        let voucher = claim.voucher
        guard voucher.reclaimCommitment == MintReclaim.commitment(claim.secret),
            claim.count >= 1, claim.count == claim.change.count
        else { return refuse(token, .malformed) }
        guard tickets.isReclaimed(voucher.epoch, at: wall) else {
            return refuse(token, .outOfTime)
        }
        guard claim.lists.count == tickets.mintCount, blinded.count == claim.count,
            SHA256.digest(blinded.flatMap(\.self)) == claim.lists[Int(identity.index)]
        else { return refuse(token, .wrongList) }
        let root = ChainPlace(index: 0, value: voucher.root)
        guard
            let check = try? VoucherCheck(
                PayOpen(voucher: voucher, place: root),
                relay: claim.relay,
                in: tickets
            )
        else { return refuse(token, .malformed) }
        begin(.claimCheck(claim, blinded: blinded, token: token)) { .check(ticket: $0, [check]) }
    }

    private mutating func continueClaim(
        _ claim: MintReclaim,
        blinded: [[UInt8]],
        token: UInt64,
        at wall: WallTime
    ) {
        guard let tickets else { return refuse(token, .unavailable) }
        let name = claim.voucher.content(network: identity.network, relay: claim.relay).name
        let digest = SHA256.digest(claim.encoded)
        if let row = ledger.deposits[name] {
            if row.isClosed {
                guard row.claim == digest.bytes, let reply = try? MintReply(parsing: row.reply)
                else { return refuse(token, .spent, detail: UInt64(row.index)) }
                return answer(token, reply)
            }
            guard row.index <= claim.spent else {
                return refuse(token, .spent, detail: UInt64(row.index))
            }
        }
        guard !closing.contains(name) else { return refuse(token, .busy) }
        guard let own = signingKeys(claim.epoch, in: tickets, at: wall) else {
            return refuse(token, .notSigning)
        }
        closing.insert(name)
        let keys = claim.change.map { own[$0.index] }
        begin(.reclaim(claim, name: name, digest: digest, token: token)) {
            .sign(ticket: $0, keys: keys, blinded)
        }
    }

    private mutating func finishClaim(
        _ claim: MintReclaim,
        _ name: Bytes32,
        _ digest: Bytes32,
        _ blind: [[UInt8]],
        token: UInt64
    ) {
        if let row = ledger.deposits[name], row.isClosed || row.index > claim.spent {
            // A deposit came while it was signed.
            return refuse(token, .spent, detail: UInt64(row.index))
        }
        let signature = identity.key.sign(
            digest.bytes,
            label: .vote,
            network: identity.network.rawValue
        )
        let reply = MintReply.vote(signature: signature, blindSignatures: blind)
        ledger.close(name, by: claim, digest: digest, reply: reply.encoded)
        answer(token, reply)
    }

    // MARK: Jobs and commits

    private mutating func begin(_ item: Work, _ job: (UInt64) -> MintJob) {
        let ticket = nextTicket
        nextTicket += 1
        work[ticket] = item
        actions.append(.job(job(ticket)))
    }

    /// Takes the outcome of a job.
    public mutating func finish(_ outcome: MintJob.Outcome, at wall: WallTime) {
        switch outcome {
        case .signed(let ticket, let blind):
            guard let item = work.removeValue(forKey: ticket) else { return }
            switch item {
            case .order(let order, let token):
                busy.remove(order.account)
                guard let blind else { return refuse(token, .malformed) }
                vote(for: order, blind: blind, token: token)
            case .reclaim(let claim, let name, let digest, let token):
                closing.remove(name)
                guard let blind else { return refuse(token, .malformed) }
                finishClaim(claim, name, digest, blind, token: token)
            case .deposit, .claimCheck: return
            }
        case .checked(let ticket, let results):
            guard let item = work.removeValue(forKey: ticket) else { return }
            switch item {
            case .deposit(let relay, let rows, let names, let token):
                finishDeposit(relay, rows, names, results, token: token)
            case .claimCheck(let claim, let blinded, let token):
                guard results == [true] else { return refuse(token, .malformed) }
                continueClaim(claim, blinded: blinded, token: token, at: wall)
            case .order, .reclaim: return
            }
        case .keys(let epoch, let made):
            makingKeys.remove(epoch)
            guard let made, keys[epoch] == nil, !hasFailed else { return }
            keys[epoch] = made
            for (code, key) in made.enumerated() {
                extraWrites.append(
                    RecordWrite(
                        table: Self.keyTable,
                        key: Self.keyName(epoch, UInt8(clamping: code)),
                        value: key.der
                    )
                )
            }
            // Announced once they are on disk: a key that was shown is never another.
            held.append(.announce)
        }
    }

    private mutating func answer(_ token: UInt64, _ reply: MintReply) {
        held.append(.reply(token, reply))
    }

    private mutating func refuse(_ token: UInt64, _ reason: MintRefusal, detail: UInt64 = 0) {
        held.append(.reply(token, .refused(reason, detail: detail)))
    }

    /// Commits what has changed; what was to be said of it leaves afterwards.
    private mutating func beginCommit() {
        guard !isCommitting else { return }
        var writes = hasFailed ? [] : extraWrites + ledger.takeWrites()
        extraWrites = []
        if !hasFailed { writes += outbox.takeWrites(isCommitting: !writes.isEmpty) }
        if writes.isEmpty {
            actions += held
            held = []
        } else {
            isCommitting = true
            leaving = held
            held = []
            actions.append(.commit(writes))
        }
    }

    /// Learns whether a commit is on disk.
    public mutating func committed(_ isStored: Bool) {
        isCommitting = false
        if isStored {
            actions += leaving
            leaving = []
            return
        }
        // Nothing of it may be told; who asks again gets it from the disk.
        hasFailed = true
        for action in leaving + held {
            guard case .reply(let token, _) = action else { continue }
            actions.append(.reply(token, .refused(.unavailable)))
        }
        for item in work.values { actions.append(.reply(item.token, .refused(.unavailable))) }
        leaving = []
        held = []
        work = [:]
        busy = []
        closing = []
    }
}
