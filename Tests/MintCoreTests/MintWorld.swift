import Base
import CryptoPrimitives
import TestSupport
import Tickets
import Wire

@testable import MintCore

/// Four mints, one wallet and one relay's book with disks that survive their crashes, in an order of
/// events that follows from a seed.
final class MintWorld {
    /// What happens to what a machine asked for.
    enum Event {
        case ask(number: UInt64, mint: Int, MintRequest)
        case walletWork(WalletWork)
        case walletStore(UInt64, [RecordWrite])
        case job(mint: Int, MintJob)
        case commit(mint: Int, [RecordWrite])
        case reply(mint: Int, token: UInt64, MintReply)
        case tell(mint: Int, number: UInt64, MintRequest, to: [UInt8])
    }

    /// Where a mint may die.
    enum Failpoint: CaseIterable {
        case beforeRequest, beforeSigning, afterSigning, beforeCommit, afterCommit, beforeReply
    }

    struct Key: Hashable, Comparable {
        var table: UInt8
        var key: [UInt8]

        static func < (lhs: Self, rhs: Self) -> Bool {
            (lhs.table, lhs.key.hex) < (rhs.table, rhs.key.hex)
        }
    }

    typealias Disk = [Key: [UInt8]]

    static let network = NetworkID(Bytes32([UInt8](repeating: 7, count: 32)) ?? .zero)
    /// Keys by mint, then denomination code; drawn once for all worlds, for a key takes long.
    static let signingKeys: [[BlindRSA.PrivateKey]] = (0..<4).map { _ in
        Denomination.allCases.map { _ in
            guard let key = try? BlindRSA.PrivateKey() else { preconditionFailure("no randomness") }
            return key
        }
    }
    static let epochSeconds: UInt32 = 600

    var random: RandomGenerator
    let mintKeys: [Ed25519.SigningKey]
    let admins: [Ed25519.SigningKey]
    let account: Ed25519.SigningKey
    let relay = NodeID(Bytes32([UInt8](repeating: 9, count: 32)) ?? .zero)
    var tickets: TicketNetwork
    var disks: [Disk] = []
    var mints: [MintControl] = []
    var walletDisk: Disk = [:]
    private var walletStorage: Wallet?
    var events: [Event] = []
    var now = Instant(nanoseconds: 1_000_000_000)
    var wall = WallTime(seconds: 600 * 3_000_000 + 60)
    var nextToken: UInt64 = 1
    /// Who asked under a token: the wallet's number.
    var askers: [UInt64: UInt64] = [:]
    var notices: [Wallet.Notice] = []
    var crashes = 0
    /// Chance of a crash before each event, in thousandths.
    var crashPermille: UInt64 = 0
    /// Chance that a question or an answer is lost, in thousandths.
    var lossPermille: UInt64 = 0
    /// One crash of a mint to come, at this point, the first time it is passed.
    var failpoint: Failpoint?
    /// Every answer of a mint to an order, by mint and digest of the order: they must not differ.
    var answers: [String: [UInt8]] = [:]
    var contradictions: [String] = []
    /// All that went to and from the mints about orders, as bytes.
    var log: [[UInt8]] = []
    /// Mints that vote for anything and sign whatever they are asked to.
    var byzantine: Set<Int> = []
    /// Mints that no other mint reaches.
    var unreachable: Set<Int> = []

    init(seed: UInt64, setVersion: UInt32 = 0) throws {
        random = RandomGenerator(testSeed: seed)
        mintKeys = (0..<4).map { .init(seed: .numbered(100 + $0)) }
        admins = (0..<3).map { .init(seed: .numbered(200 + $0)) }
        account = .init(seed: .numbered(300))
        tickets = try Self.tickets(mintKeys, wall: wall, setVersion: setVersion)
        for index in 0..<4 {
            var disk: Disk = [:]
            for epoch in Self.epochs(wall) {
                for code in Self.signingKeys[index].indices {
                    disk[Key(table: 6, key: Self.keyName(epoch, code))] =
                        Self.signingKeys[index][code].der
                }
            }
            disks.append(disk)
            mints.append(try makeMint(index))
        }
        walletStorage = try makeWallet()
    }

    static func epochs(_ wall: WallTime) -> ClosedRange<UInt32> {
        let epoch = UInt32(clamping: wall.seconds / UInt64(epochSeconds))
        return epoch - 1...epoch + 4
    }

    static func keyName(_ epoch: UInt32, _ code: Int) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(epoch)
        writer.write(UInt8(code))
        return writer.bytes
    }

    static func tickets(
        _ keys: [Ed25519.SigningKey],
        wall: WallTime,
        setVersion: UInt32 = 0,
        signingKeys: [[BlindRSA.PrivateKey]] = signingKeys
    ) throws -> TicketNetwork {
        var parameters = NetworkParameters.lab
        parameters.ticketEpochSeconds = epochSeconds
        parameters.voucherBatch = 16
        parameters.mintSetVersion = setVersion
        let announcements = try keys.enumerated().map { index, key in
            let ders = try signingKeys[index].map { try $0.publicKey().der }
            var announcement = MintAnnouncement(
                network: network,
                index: UInt8(index),
                key: key.publicKey,
                published: wall,
                sealingKey: .zero,
                addresses: [],
                epochs: epochs(wall).map { .init(epoch: $0, keys: ders) },
                totals: [],
                burnt: 0
            )
            try announcement.sign(with: key)
            return announcement
        }
        guard
            let tickets = TicketNetwork(
                network: network,
                parameters: parameters,
                announcements: announcements
            )
        else { preconditionFailure("there are mints") }
        return tickets
    }

    // MARK: Machines and disks

    static func records(_ disk: Disk) -> [StoredRecord] {
        disk.sorted { $0.key < $1.key }.map {
            StoredRecord(table: $0.key.table, key: $0.key.key, value: $0.value)
        }
    }

    static func apply(_ writes: [RecordWrite], to disk: inout Disk) {
        for write in writes { disk[Key(table: write.table, key: write.key)] = write.value }
    }

    func makeMint(_ index: Int) throws -> MintControl {
        var mint = try MintControl(
            identity: MintControl.Identity(
                network: Self.network,
                index: UInt8(index),
                key: mintKeys[index],
                admins: admins.map(\.publicKey),
                grantThreshold: 2
            ),
            records: Self.records(disks[index])
        )
        mint.setTickets(tickets)
        return mint
    }

    func makeWallet() throws -> Wallet {
        var wallet = try Wallet(
            network: Self.network,
            key: account,
            records: Self.records(walletDisk),
            random: random.split()
        )
        wallet.setTickets(tickets)
        wallet.setCandidates([relay])
        return wallet
    }

    /// Changes the wallet where it lies, and takes what it asks for.
    func wallet<R>(_ body: (inout Wallet) throws -> R) rethrows -> R {
        guard var wallet = walletStorage.take() else { preconditionFailure("there is a wallet") }
        let result: R
        do {
            result = try body(&wallet)
        } catch {
            walletStorage = consume wallet
            throw error
        }
        while let step = wallet.nextStep() {
            switch step {
            case .store(let number, let writes): events.append(.walletStore(number, writes))
            case .work(let work): events.append(.walletWork(work))
            case .ask(let number, let mint, let request):
                events.append(.ask(number: number, mint: Int(mint), request))
            case .notice(let notice): notices.append(notice)
            }
        }
        walletStorage = consume wallet
        return result
    }

    private func drain(_ index: Int) {
        while let action = mints[index].nextAction() {
            switch action {
            case .commit(let writes): events.append(.commit(mint: index, writes))
            case .reply(let token, let reply):
                events.append(.reply(mint: index, token: token, reply))
            case .job(let job): events.append(.job(mint: index, job))
            case .tell(let number, let request, let others):
                events.append(.tell(mint: index, number: number, request, to: others))
            case .announce: break
            }
        }
    }

    /// The mint forgets all that is not on its disk; what was on its way to it or from it is lost.
    func crash(_ index: Int) throws {
        crashes += 1
        // Whoever asks hears that nobody answers.
        let unheard = events.compactMap { event -> UInt64? in
            if case .ask(let number, index, _) = event { number } else { nil }
        }
        events.removeAll { event in
            switch event {
            case .job(index, _), .commit(index, _), .reply(index, _, _),
                .tell(index, _, _, _):
                true
            case .ask(_, index, _): true
            default: false
            }
        }
        let lost = askers.filter { $0.key % 4 == UInt64(index) }
        for token in lost.keys { askers[token] = nil }
        mints[index] = try makeMint(index)
        drain(index)
        for number in unheard + lost.values.sorted() { wallet { $0.failed(number, now: now) } }
    }

    /// The client's machine dies; what is not on its disk is gone.
    func crashWallet() throws {
        crashes += 1
        events.removeAll { event in
            switch event {
            case .ask, .walletWork, .walletStore: true
            default: false
            }
        }
        askers = [:]
        walletStorage = try makeWallet()
    }

    private func passes(_ point: Failpoint, _ index: Int) throws -> Bool {
        guard failpoint == point else { return true }
        failpoint = nil
        try crash(index)
        return false
    }

    // MARK: Running

    /// Does one event, drawn from those that wait; false where none does.
    func step() throws -> Bool {
        guard !events.isEmpty else { return false }
        let event = events.remove(at: Int(random.next(below: UInt64(events.count))))
        if random.happens(permille: crashPermille) {
            switch event {
            case .ask(_, let mint, _), .job(let mint, _), .commit(let mint, _),
                .reply(let mint, _, _), .tell(let mint, _, _, _):
                events.append(event)
                try crash(mint)
            case .walletWork, .walletStore:
                events.append(event)
                try crashWallet()
            }
            return true
        }
        try handle(event)
        return true
    }

    private func handle(_ event: Event) throws {
        switch event {
        case .ask(let number, let index, let request):
            guard !random.happens(permille: lossPermille) else {
                return wallet { $0.failed(number, now: now) }
            }
            guard try passes(.beforeRequest, index) else {
                return wallet { $0.failed(number, now: now) }
            }
            // Its place among the tokens tells the mint.
            nextToken += 4
            let token = nextToken / 4 * 4 + UInt64(index)
            askers[token] = number
            let copy = try MintRequest(parsing: request.encoded)
            log.append(request.encoded)
            mints[index].receive(copy, token: token, at: wall)
            drain(index)
        case .walletWork(let work):
            wallet { $0.finish(work.run(), now: now, at: wall) }
        case .walletStore(let number, let writes):
            Self.apply(writes, to: &walletDisk)
            wallet { $0.stored(number, now: now, at: wall) }
        case .job(let index, let job):
            guard try passes(.beforeSigning, index) else { return }
            let outcome = job.run()
            guard try passes(.afterSigning, index) else { return }
            mints[index].finish(outcome, at: wall)
            drain(index)
        case .commit(let index, let writes):
            guard try passes(.beforeCommit, index) else { return }
            Self.apply(writes, to: &disks[index])
            guard try passes(.afterCommit, index) else { return }
            mints[index].committed(true)
            drain(index)
        case .reply(let index, let token, let reply):
            guard try passes(.beforeReply, index) else { return }
            guard let number = askers.removeValue(forKey: token) else { return }
            guard !random.happens(permille: lossPermille) else {
                return wallet { $0.failed(number, now: now) }
            }
            let copy = try MintReply(parsing: reply.encoded)
            log.append(reply.encoded)
            wallet { $0.receive(copy, to: number, now: now, at: wall) }
        case .tell(let index, let number, let request, let others):
            for other in others.map(Int.init) where !unreachable.contains(other) {
                mints[other].receive(try MintRequest(parsing: request.encoded), token: 0, at: wall)
                drain(other)
                mints[index].told(number, to: UInt8(clamping: other))
                drain(index)
            }
        }
    }

    /// Lets everything happen, and time pass, until `condition` holds; false where it never did.
    func run(steps: Int = 5_000, until condition: () -> Bool) throws -> Bool {
        for _ in 0..<steps {
            if condition() { return true }
            if try !step() {
                now = now + .seconds(1)
                wallet { $0.advance(to: now, at: wall) }
            }
        }
        return condition()
    }

    /// Lets what waits happen, at most `count` events of it.
    func settle(upTo count: Int = 5_000) throws {
        for _ in 0..<count { if try !step() { return } }
    }

    func pass(epochs: UInt64) {
        wall = WallTime(seconds: wall.seconds + epochs * UInt64(Self.epochSeconds))
    }

    func pass(seconds: UInt64) {
        wall = WallTime(seconds: wall.seconds + seconds)
    }

    // MARK: Doing things

    func grant(_ amount: Credits, id: UInt8 = 1) {
        var grant = MintGrant(
            id: Bytes32([UInt8](repeating: id, count: 32)) ?? .zero,
            account: account.publicKey,
            amount: amount
        )
        for (index, admin) in admins.enumerated().prefix(2) {
            grant.sign(as: UInt8(index), with: admin, network: Self.network)
        }
        wallet { $0.submit(grant, now: now) }
    }

    /// What a mint answers to a request, with nothing else happening.
    func ask(_ index: Int, _ request: MintRequest) throws -> MintReply? {
        nextToken += 4
        let token = nextToken / 4 * 4 + UInt64(index)
        mints[index].receive(request, token: token, at: wall)
        var reply: MintReply?
        for _ in 0..<20 {
            guard let action = mints[index].nextAction() else { break }
            switch action {
            case .commit(let writes):
                Self.apply(writes, to: &disks[index])
                mints[index].committed(true)
            case .job(let job): mints[index].finish(job.run(), at: wall)
            case .reply(token, let answer): reply = answer
            case .reply, .announce: break
            case .tell(let number, let request, let others):
                events.append(.tell(mint: index, number: number, request, to: others))
            }
        }
        return reply
    }
}
