public import Base
public import CryptoPrimitives
public import Wire

/// What a client owns: its account, its vouchers, and vouchers on their way from the mints.
///
/// Sans-IO. Say what is wanted, feed replies, outcomes of work and of stores, and time; drain
/// ``nextStep()`` after each call. An order and all its secrets are on disk before anything of it is
/// sent, and the same bytes are sent again until the mints have answered: no reply that is lost
/// loses money. Not thread-safe. Spec: §A.4, §A.5.1. Bound: ``voucherLimit`` vouchers.
public struct Wallet: ~Copyable {
    /// Vouchers kept, at most.
    public static let voucherLimit = 4_096
    private static let retry: TimeSpan = .seconds(2)
    private static let moneyRetry: TimeSpan = .seconds(10)

    enum Table {
        static let standing: UInt8 = 20
        static let purchase: UInt8 = 21
        static let certificate: UInt8 = 22
        static let voucher: UInt8 = 23
        static let grant: UInt8 = 24
    }

    /// Something for the parent machine to do.
    public enum Step: Sendable {
        /// Put these on disk and say so by ``Wallet/stored(_:)``.
        case store(UInt64, [RecordWrite])
        /// Do key work, and bring its outcome.
        case work(WalletWork)
        /// Ask a mint; the answer comes back under the number.
        case ask(UInt64, mint: UInt8, MintRequest)
        /// Tell whoever wants to know.
        case notice(Notice)
    }

    /// Something people may want to know.
    public enum Notice: Hashable, Sendable {
        /// Vouchers came.
        case bought(Int, Denomination)
        /// The account has too little; its balance.
        case poor(Credits)
        /// A mint signed with a key it did not publish: nothing it signs is taken.
        case tagged(mint: UInt8)
        /// Another order of this account stands: the wallet was copied.
        case locked(sequence: UInt64)
        /// Ticks of old vouchers were given back as new ones.
        case reclaimed(ticks: UInt64)
        /// Money went to another account.
        case transferred(Credits, to: Bytes32)
    }

    /// Counts of ticks; `bought + reclaimed = spent + outstanding + given back + expired` at all
    /// times.
    public struct Sums: Hashable, Sendable {
        /// Of vouchers the account paid for.
        public var bought: UInt64 = 0
        /// Of vouchers that came for old ones.
        public var reclaimed: UInt64 = 0
        /// Paid to relays, of vouchers that are gone.
        public var spent: UInt64 = 0
        /// Given back to the mints for new ones.
        public var givenBack: UInt64 = 0
        /// Lost.
        public var expired: UInt64 = 0

        /// Nothing yet.
        public init() {}
    }

    enum Stage {
        case blinding
        case storing(UInt64)
        case asking
        case finishing
        case keeping(UInt64)
    }

    enum Question {
        case purchase(mint: UInt8)
        case certificate
        case grant(Bytes32, mint: UInt8)
        case inquiry(mint: UInt8)
    }

    struct Want: Hashable, Comparable {
        var denomination: Denomination
        var relay: NodeID

        static func < (lhs: Self, rhs: Self) -> Bool {
            // Small ones first: they are waited for.
            (lhs.denomination.tickCount, lhs.relay) < (rhs.denomination.tickCount, rhs.relay)
        }
    }

    let network: NetworkID
    let key: Ed25519.SigningKey
    private var random: RandomGenerator
    var tickets: TicketNetwork?
    var vouchers: [Bytes32: OwnedVoucher] = [:]
    // How far vouchers that are being spent may be shown: on disk that counts as spent.
    var marks: [Bytes32: UInt32] = [:]
    var certificates: [UInt64: OrderCertificate] = [:]
    /// The number of the account's next order.
    public internal(set) var sequence: UInt64 = 0
    /// Counts of ticks.
    public private(set) var sums = Sums()
    var purchase: Purchase?
    var stage = Stage.blinding
    private var replies: [UInt8: [[UInt8]]] = [:]
    var votes: [UInt8: [UInt8]] = [:]
    private var lacking: [UInt8: UInt64] = [:]
    private var poor: [UInt8: Credits] = [:]
    private var retryAt: [UInt8: Instant] = [:]
    var grants: [Bytes32: (grant: MintGrant, taken: Set<UInt8>, retryAt: Instant)] = [:]
    private var questions: [UInt64: Question] = [:]
    private var nextNumber: UInt64 = 1
    private var wants: Set<Want> = []
    private var candidates: [NodeID] = []
    var draft: (payment: Draft, vouchers: [OwnedVoucher])?
    private var pauseUntil: Instant = .zero
    var isLocked = false
    var balances: [UInt8: Credits] = [:]
    var standings: [UInt8: UInt64] = [:]
    var steps: [Step] = []
    private var keptKeys: [UInt32: [UInt8: [[UInt8]]]] = [:]

    enum Draft {
        case order(epoch: UInt32, Denomination)
        case claim(Bytes32, spent: UInt32, epoch: UInt32)
    }

    /// Makes the wallet of an account from its records; none for a new one.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    public init(
        network: NetworkID,
        key: Ed25519.SigningKey,
        records: [StoredRecord],
        random: consuming RandomGenerator
    ) throws(WireError) {
        self.network = network
        self.key = key
        self.random = random
        for record in records {
            var reader = ByteReader(record.value)
            switch record.table {
            case Table.standing:
                sequence = try reader.read()
                sums.bought = try reader.read()
                sums.reclaimed = try reader.read()
                sums.spent = try reader.read()
                sums.givenBack = try reader.read()
                sums.expired = try reader.read()
                try reader.finish()
            case Table.purchase:
                purchase = try Purchase(parsing: record.value, network: network)
                stage = .asking
            case Table.certificate:
                let certificate = try OrderCertificate(parsing: record.value)
                certificates[certificate.order.sequence] = certificate
            case Table.voucher:
                let voucher = try OwnedVoucher(from: &reader, network: network)
                vouchers[voucher.content.name] = voucher
            case Table.grant:
                let grant = try MintGrant(parsing: record.value)
                grants[grant.id] = (grant, [], .zero)
            default: continue
            }
        }
    }

    // MARK: Outputs

    /// Takes the next step.
    public mutating func nextStep() -> Step? {
        steps.isEmpty ? nil : steps.removeFirst()
    }

    /// When ``advance(to:at:)`` has something to do.
    public var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        guard tickets != nil else { return deadline }
        if purchase != nil, case .asking = stage {
            // What is past has been looked at: whoever answered is not asked again.
            for (mint, time) in retryAt where replies[mint] == nil {
                deadline = min(deadline, time)
            }
        } else if !wants.isEmpty, purchase == nil, draft == nil, !isLocked {
            deadline = min(deadline, pauseUntil)
        }
        for grant in grants.values { deadline = min(deadline, grant.retryAt) }
        return deadline
    }

    /// The account's name.
    public var account: Bytes32 {
        key.publicKey
    }

    /// Ticks of vouchers nobody was shown yet, and vouchers, by denomination.
    public var fresh: [Denomination: Int] {
        var counts: [Denomination: Int] = [:]
        for voucher in vouchers.values where voucher.spent == nil {
            counts[voucher.content.denomination, default: 0] += 1
        }
        return counts
    }

    /// All vouchers, ascending by epoch.
    public var owned: [OwnedVoucher] {
        vouchers.values.sorted {
            ($0.content.epoch, $0.content.root) < ($1.content.epoch, $1.content.root)
        }
    }

    /// Ticks that can still be spent or given back.
    public var outstanding: UInt64 {
        vouchers.values.reduce(0) { $0 + UInt64($1.left) }
    }

    /// Ticks spent in all, of vouchers at hand too.
    public var spent: UInt64 {
        vouchers.values.reduce(sums.spent) { $0 + UInt64($1.spent ?? 0) }
    }

    /// The account's balance as most mints that were asked have it; `nil` before any was.
    public var balance: Credits? {
        let known = balances.values.sorted()
        return known.isEmpty ? nil : known[(known.count - 1) / 2]
    }

    /// Whether vouchers are on their way.
    public var isBuying: Bool {
        purchase != nil || draft != nil
    }

    // MARK: Commands

    /// Takes the mints as the newest consensus has them.
    ///
    /// A key that was seen before and is another now is refused with the whole value: keys of an
    /// epoch never change, so that no user can be marked by one of his own.
    public mutating func setTickets(_ new: TicketNetwork) {
        for (index, mint) in new.mints.sorted(by: { $0.key < $1.key }) {
            for (epoch, keys) in mint.keys {
                let ders = keys.map(\.der)
                if let known = keptKeys[epoch]?[index], known != ders {
                    steps.append(.notice(.tagged(mint: index)))
                    return
                }
                keptKeys[epoch, default: [:]][index] = ders
            }
        }
        tickets = new
    }

    /// Relays that vouchers beyond those wanted are bought for.
    public mutating func setCandidates(_ relays: [NodeID]) {
        candidates = relays
    }

    /// Asks for a voucher of this kind to be there.
    public mutating func want(_ denomination: Denomination, for relay: NodeID) {
        wants.insert(Want(denomination: denomination, relay: relay))
    }

    /// Whether a voucher nobody was shown is there for this relay.
    public func has(_ denomination: Denomination, for relay: NodeID, at wall: WallTime) -> Bool {
        pick(denomination, for: relay, at: wall) != nil
    }

    /// Takes a voucher to show to its relay; asks for one where there is none.
    ///
    /// Another one is not bought because this was the last: the mints would see when it is shown. It
    /// is never given out again. What ``Step/store(_:_:)`` bears under the number must be on disk
    /// before it is shown.
    public mutating func take(
        _ denomination: Denomination,
        for relay: NodeID,
        asGuard isAtGuard: Bool = false,
        at wall: WallTime
    ) -> (voucher: OwnedVoucher, stored: UInt64)? {
        guard let name = pick(denomination, for: relay, at: wall),
            var voucher = vouchers[name]
        else {
            want(denomination, for: relay)
            return nil
        }
        voucher.spent = 1
        voucher.isAtGuard = isAtGuard
        vouchers[name] = voucher
        return (voucher, store([write(voucher)]))
    }

    func pick(
        _ denomination: Denomination,
        for relay: NodeID,
        at wall: WallTime
    ) -> Bytes32? {
        guard let tickets else { return nil }
        return vouchers.filter {
            $0.value.spent == nil && $0.value.content.relay == relay
                && $0.value.content.denomination == denomination
                && tickets.isAccepted($0.value.content.epoch, at: wall)
        }.min {
            ($0.value.content.epoch, $0.key) < ($1.value.content.epoch, $1.key)
        }?.key
    }

    /// Notes how far a voucher was spent.
    public mutating func note(spent index: UInt32, of name: Bytes32) {
        guard let voucher = vouchers[name], index > voucher.spent ?? 0 else { return }
        vouchers[name]?.spent = min(index, voucher.content.denomination.tickCount)
    }

    /// Puts on disk how far vouchers were spent.
    public mutating func keepSpent() {
        let writes = owned.filter { $0.spent != nil }.map { write($0) }
        if !writes.isEmpty { _ = store(writes) }
    }

    /// Brings money the admins gave to this account to the mints.
    public mutating func submit(_ grant: MintGrant, now: Instant) {
        guard grants[grant.id] == nil else { return }
        grants[grant.id] = (grant, [], now)
        _ = store([
            RecordWrite(table: Table.grant, key: grant.id.bytes, value: grant.encoded)
        ])
    }

    /// Asks every mint how the account stands.
    public mutating func inquire(at wall: WallTime) {
        guard let tickets else { return }
        balances = [:]
        let signature = key.sign(
            MintRequest.inquiryBody(account: account, minute: wall.minute),
            label: .order,
            network: network.rawValue
        )
        for mint in tickets.mints.keys.sorted() {
            ask(
                mint,
                .inquiry(mint: mint),
                .inquiry(account: account, minute: wall.minute, signature: signature)
            )
        }
    }

    // MARK: Time

    /// Lets time pass: buys what is wanted, asks again, gives back what is old.
    public mutating func advance(to now: Instant, at wall: WallTime) {
        guard let tickets else { return }
        expire(in: tickets, at: wall)
        for id in grants.keys.sorted() { push(id, in: tickets, now: now) }
        if purchase == nil, draft == nil, !isLocked, now >= pauseUntil {
            begin(in: tickets, now: now, at: wall)
        } else if purchase != nil, case .asking = stage {
            askAll(in: tickets, now: now)
        }
    }

    private mutating func push(_ id: Bytes32, in tickets: TicketNetwork, now: Instant) {
        guard let entry = grants[id], entry.retryAt <= now else { return }
        grants[id]?.retryAt = now + Self.retry
        let isAsked = questions.values.contains {
            if case .grant(id, _) = $0 { true } else { false }
        }
        guard !isAsked else { return }
        for mint in tickets.mints.keys.sorted() where !entry.taken.contains(mint) {
            ask(mint, .grant(id, mint: mint), .grant(entry.grant))
        }
    }

    private mutating func begin(in tickets: TicketNetwork, now: Instant, at wall: WallTime) {
        let epoch = tickets.epoch(at: wall)
        let isReady = tickets.designated(epoch: epoch, version: tickets.setVersion).allSatisfy {
            tickets.key(of: $0, epoch: epoch, .trial) != nil
        }
        guard isReady, vouchers.count < Self.voucherLimit else {
            pauseUntil = now + Self.retry
            return
        }
        wants = wants.filter { pick($0.denomination, for: $0.relay, at: wall) == nil }
        if let first = wants.min() {
            let denomination = first.denomination
            let relays = wants.filter { $0.denomination == denomination }.map(\.relay).sorted()
            startOrder(denomination, relays, epoch: epoch, in: tickets)
        } else {
            startClaim(epoch: epoch, in: tickets, at: wall)
        }
    }

    mutating func startOrder(
        _ denomination: Denomination,
        _ wanted: [NodeID],
        epoch: UInt32,
        in tickets: TicketNetwork
    ) {
        var relays = Array(wanted.prefix(TicketLimits.orderCount))
        let batch = Self.batchCount(denomination)
        if denomination == .trial {
            for relay in candidates where relays.count < batch && !relays.contains(relay) {
                relays.append(relay)
            }
        }
        // A full batch tells the mints nothing of what was wanted.
        var place = 0
        let base = relays
        while relays.count < batch {
            relays.append(base[place % base.count])
            place += 1
        }
        if let balance {
            let price = Credits(ticks: UInt64(denomination.tickCount)).hundredths
            let affordable = Int(clamping: balance.hundredths / price)
            relays = Array(relays.prefix(max(1, affordable)))
        }
        let new = relays.map {
            OwnedVoucher(
                network: network,
                epoch: epoch,
                denomination: denomination,
                relay: $0,
                random: &random
            )
        }
        draft = (.order(epoch: epoch, denomination), new)
        blind(new, epoch: epoch, denomination, in: tickets)
    }

    private static func batchCount(_ denomination: Denomination) -> Int {
        switch denomination {
        case .trial: 16
        case .small: 8
        case .large: 2
        }
    }

    private mutating func startClaim(
        epoch: UInt32,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        guard !candidates.isEmpty,
            let old = owned.first(where: {
                tickets.isReclaimed($0.content.epoch, at: wall) && $0.left >= 16
            })
        else { return }
        let count = min(Int(old.left / 16), TicketLimits.orderCount)
        let new = (0..<count).map { index in
            OwnedVoucher(
                network: network,
                epoch: epoch,
                denomination: .trial,
                relay: candidates[index % candidates.count],
                random: &random
            )
        }
        draft = (.claim(old.content.name, spent: old.spent ?? 0, epoch: epoch), new)
        blind(new, epoch: epoch, .trial, in: tickets)
    }

    private mutating func blind(
        _ new: [OwnedVoucher],
        epoch: UInt32,
        _ denomination: Denomination,
        in tickets: TicketNetwork
    ) {
        let keys = (0..<tickets.mintCount).map {
            tickets.key(of: UInt8(clamping: $0), epoch: epoch, denomination)
        }
        stage = .blinding
        steps.append(.work(.blind(new, keys: keys)))
    }

    // MARK: Inputs

    /// Takes the outcome of key work.
    public mutating func finish(_ outcome: WalletWork.Outcome, now: Instant, at wall: WallTime) {
        switch outcome {
        case .failed:
            draft = nil
            pauseUntil = now + Self.retry
        case .blinded(let new, let blinded, let openers):
            guard let draft else { return }
            self.draft = nil
            let lists = blinded.map { SHA256.digest($0.flatMap(\.self)) }
            let payment: Purchase.Payment
            switch draft.payment {
            case .order(let epoch, let denomination):
                var order = MintOrder(
                    account: account,
                    sequence: sequence,
                    content: .withdraw(
                        epoch: epoch,
                        denomination: denomination,
                        count: new.count,
                        lists: lists
                    )
                )
                order.signature = key.sign(order.body, label: .order, network: network.rawValue)
                payment = .order(order)
            case .claim(let name, let spent, let epoch):
                guard let old = vouchers[name] else { return }
                payment = .claim(
                    MintReclaim(
                        relay: old.content.relay,
                        voucher: old.proof,
                        secret: old.reclaimSecret,
                        spent: spent,
                        epoch: epoch,
                        count: new.count,
                        lists: lists
                    ),
                    name
                )
            }
            let made = Purchase(
                payment: payment,
                vouchers: new,
                blinded: blinded,
                openers: openers
            )
            purchase = made
            resetReplies()
            stage = .storing(
                store([RecordWrite(table: Table.purchase, key: [0], value: made.encoded)])
            )
        case .finalized(let made, let place):
            finishPurchase(made, badSigner: place, now: now)
        }
    }

    mutating func resetReplies() {
        replies = [:]
        votes = [:]
        lacking = [:]
        poor = [:]
        retryAt = [:]
    }

    /// Learns that what bears this number is on disk.
    public mutating func stored(_ number: UInt64, now: Instant, at wall: WallTime) {
        switch stage {
        case .storing(number):
            stage = .asking
            guard let tickets else { return }
            askAll(in: tickets, now: now)
        case .keeping(number):
            stage = .blinding
            advance(to: now, at: wall)
        default: return
        }
    }

    private mutating func askAll(in tickets: TicketNetwork, now: Instant) {
        guard let purchase else { return }
        let set = voters(for: purchase, in: tickets)
        for mint in set where replies[mint] == nil && retryAt[mint] ?? .zero <= now {
            let isAsked = questions.values.contains {
                if case .purchase(mint) = $0 { true } else { false }
            }
            guard !isAsked, purchase.canAsk(mint) else { continue }
            retryAt[mint] = now + Self.retry
            ask(
                mint,
                .purchase(mint: mint),
                purchase.request(for: mint, certificates: certificates(for: mint))
            )
        }
        finalizeIfComplete(set, in: tickets)
    }

    private func certificates(for mint: UInt8) -> [OrderCertificate] {
        guard sequence > 0 else { return [] }
        let first = lacking[mint] ?? sequence - 1
        return (first..<max(first, sequence)).prefix(TicketLimits.certificateCount)
            .compactMap { certificates[$0] }
    }

    mutating func ask(_ mint: UInt8, _ question: Question, _ request: MintRequest) {
        let number = nextNumber
        nextNumber += 1
        questions[number] = question
        steps.append(.ask(number, mint: mint, request))
    }

    /// Learns that a question got no answer.
    public mutating func failed(_ number: UInt64, now: Instant) {
        guard let question = questions.removeValue(forKey: number) else { return }
        if case .purchase(let mint) = question { retryAt[mint] = now + Self.retry }
    }

    /// Takes a mint's answer.
    public mutating func receive(
        _ reply: MintReply,
        to number: UInt64,
        now: Instant,
        at wall: WallTime
    ) {
        guard let question = questions.removeValue(forKey: number), let tickets else { return }
        switch question {
        case .certificate: return
        case .inquiry(let mint):
            if case .account(_, let certified, let balance) = reply {
                balances[mint] = balance
                standings[mint] = certified
                catchUp(in: tickets)
            }
        case .grant(let id, let mint):
            guard case .taken = reply else { return }
            grants[id]?.taken.insert(mint)
            balances = [:]
            pauseUntil = now
            if let taken = grants[id]?.taken, taken.count >= tickets.mintCount {
                grants[id] = nil
                _ = store([RecordWrite(table: Table.grant, key: id.bytes, value: nil)])
            }
        case .purchase(let mint):
            receive(reply, from: mint, in: tickets, now: now)
        }
    }

    private mutating func receive(
        _ reply: MintReply,
        from mint: UInt8,
        in tickets: TicketNetwork,
        now: Instant
    ) {
        guard let purchase, case .asking = stage else { return }
        switch reply {
        case .vote(let signature, let blind):
            guard blind.count == purchase.vouchers.count,
                tickets.isValid(vote: signature, by: mint, of: purchase.digest)
            else { return }
            votes[mint] = signature
            replies[mint] = blind
            finalizeIfComplete(voters(for: purchase, in: tickets), in: tickets)
        case .refused(let reason, let detail):
            refused(reason, detail, by: mint, in: tickets, now: now)
        case .account, .taken: return
        }
    }

    private mutating func refused(
        _ reason: MintRefusal,
        _ detail: UInt64,
        by mint: UInt8,
        in tickets: TicketNetwork,
        now: Instant
    ) {
        guard let purchase else { return }
        switch reason {
        case .needsCertificates:
            lacking[mint] = min(detail, sequence)
            retryAt[mint] = now
            askAll(in: tickets, now: now)
        case .balance:
            poor[mint] = Credits(hundredths: detail)
            balances[mint] = Credits(hundredths: detail)
            retryAt[mint] = now + Self.moneyRetry
            let set = voters(for: purchase, in: tickets)
            guard replies.isEmpty, set.allSatisfy({ poor[$0] != nil }) else { return }
            // Nobody voted for it, and it is not sent again: the number is free.
            steps.append(.notice(.poor(poor.values.min() ?? .zero)))
            abandon(now: now, pause: Self.moneyRetry)
        case .conflict:
            isLocked = true
            steps.append(.notice(.locked(sequence: detail)))
        case .spent:
            guard case .claim(_, let name) = purchase.payment, replies.isEmpty else { return }
            // More was spent than was noted: the claim is made anew by what is on record.
            let index = UInt32(clamping: detail)
            if index > vouchers[name]?.spent ?? 0 {
                note(spent: index, of: name)
            } else {
                drop(name)
            }
            abandon(now: now, pause: .zero)
        case .outOfTime, .malformed:
            guard case .claim(_, let name) = purchase.payment, replies.isEmpty else { return }
            if reason == .malformed { drop(name) }
            abandon(now: now, pause: Self.moneyRetry)
        case .notSigning, .wrongList, .unavailable, .busy:
            retryAt[mint] = now + Self.retry
        }
    }

    private mutating func abandon(now: Instant, pause: TimeSpan) {
        purchase = nil
        resetReplies()
        pauseUntil = now + pause
        _ = store([RecordWrite(table: Table.purchase, key: [0], value: nil)])
    }

    private mutating func finalizeIfComplete(_ set: [UInt8], in tickets: TicketNetwork) {
        guard let purchase, case .asking = stage else { return }
        guard !purchase.isTransfer else { return finishTransfer(purchase, in: tickets) }
        guard set.allSatisfy({ replies[$0] != nil }) else { return }
        let denomination = purchase.vouchers.first?.content.denomination ?? .trial
        let keys = set.compactMap { tickets.key(of: $0, epoch: purchase.epoch, denomination) }
        guard keys.count == set.count else { return }
        stage = .finishing
        var vouchers = purchase.vouchers
        for index in vouchers.indices { vouchers[index].setVersion = tickets.setVersion }
        steps.append(
            .work(
                .finalize(
                    vouchers,
                    keys: keys,
                    set.map { purchase.openers[Int($0)] },
                    set.map { replies[$0] ?? [] }
                )
            )
        )
    }

    private mutating func finishPurchase(_ made: [OwnedVoucher]?, badSigner: Int, now: Instant) {
        guard let purchase, let tickets, case .finishing = stage else { return }
        guard let made else {
            let set = tickets.designated(epoch: purchase.epoch, version: tickets.setVersion)
            let mint = badSigner < set.count ? set[badSigner] : 0
            steps.append(.notice(.tagged(mint: mint)))
            replies[mint] = nil
            retryAt[mint] = now + Self.moneyRetry
            stage = .asking
            return
        }
        var writes = [RecordWrite(table: Table.purchase, key: [0], value: nil)]
        let ticks = made.reduce(0) { $0 + UInt64($1.content.denomination.tickCount) }
        switch purchase.payment {
        case .order(let order):
            let certificate = OrderCertificate(
                order: order,
                votes: votes.map { MintVote(mint: $0.key, signature: $0.value) }
            )
            certificates[sequence] = certificate
            writes.append(
                RecordWrite(
                    table: Table.certificate,
                    key: NumberKey.key(sequence),
                    value: certificate.encoded
                )
            )
            sequence += 1
            sums.bought += ticks
            for mint in tickets.mints.keys.sorted() {
                ask(mint, .certificate, .certificates([certificate]))
            }
            steps.append(
                .notice(.bought(made.count, made.first?.content.denomination ?? .trial))
            )
        case .claim(let claim, let name):
            sums.spent += UInt64(claim.spent)
            sums.givenBack += UInt64(claim.voucher.denomination.tickCount - claim.spent)
            sums.reclaimed += ticks
            vouchers[name] = nil
            writes.append(RecordWrite(table: Table.voucher, key: name.bytes, value: nil))
            steps.append(.notice(.reclaimed(ticks: ticks)))
        }
        for voucher in made {
            vouchers[voucher.content.name] = voucher
            writes.append(write(voucher))
        }
        noteCost(of: purchase)
        self.purchase = nil
        resetReplies()
        writes.append(standing)
        stage = .keeping(store(writes))
    }

    // MARK: Ends

    private mutating func expire(in tickets: TicketNetwork, at wall: WallTime) {
        let epoch = UInt64(tickets.epoch(at: wall))
        // Nothing of it is taken or given back any more, or nothing is left of it.
        let over = owned.filter { voucher in
            let age = UInt64(voucher.content.epoch)
            return age + 5 < epoch
                || (tickets.isReclaimed(voucher.content.epoch, at: wall) && voucher.left < 16)
        }
        guard !over.isEmpty else { return }
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

    private mutating func drop(_ name: Bytes32) {
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
