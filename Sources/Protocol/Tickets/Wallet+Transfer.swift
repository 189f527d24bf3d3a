public import Base
import CryptoPrimitives
public import Wire

/// Orders a person gives. Spec: §A.4.
extension Wallet {
    /// Begins to buy a batch of vouchers for these relays, whether or not there are some;
    /// ``sequence`` has grown once they are here.
    ///
    /// - Returns: false while another order is on its way, where the account is locked, or before the
    ///   mints' keys are known.
    public mutating func buy(
        _ denomination: Denomination,
        for relays: [NodeID],
        at wall: WallTime
    ) -> Bool {
        guard let tickets, !relays.isEmpty, purchase == nil, draft == nil, !isLocked else {
            return false
        }
        let epoch = tickets.epoch(at: wall)
        let set = tickets.designated(epoch: epoch, version: tickets.setVersion)
        guard set.allSatisfy({ tickets.key(of: $0, epoch: epoch, denomination) != nil }) else {
            return false
        }
        startOrder(
            denomination,
            relays,
            urgent: Set(relays),
            epoch: epoch,
            in: tickets,
            at: wall
        )
        return true
    }

    /// Begins to give `amount` to the account `to`; a ``Notice/transferred(_:to:)`` says that it
    /// stands.
    ///
    /// - Returns: false while another order is on its way, or where the account is locked.
    public mutating func transfer(_ amount: Credits, to: Bytes32) -> Bool {
        guard purchase == nil, draft == nil, !isLocked, tickets != nil else { return false }
        var order = MintOrder(
            account: account,
            sequence: sequence,
            content: .transfer(to: to, amount: amount)
        )
        order.signature = key.sign(order.body, label: .order, network: network.rawValue)
        let made = Purchase(payment: .order(order), vouchers: [], blinded: [], openers: [])
        purchase = made
        answers = PurchaseAnswers()
        stage = .storing(
            store([RecordWrite(table: Table.purchase, key: [0], value: made.encoded)])
        )
        return true
    }

    /// The mints that are asked for what is on its way: any for a transfer, else the designated.
    func voters(for purchase: Purchase, in tickets: TicketNetwork) -> [UInt8] {
        purchase.isTransfer
            ? tickets.mints.keys.sorted()
            : tickets.designated(epoch: purchase.epoch, version: tickets.setVersion)
    }

    /// Ends a transfer once enough mints voted for it, and tells all of them.
    mutating func finishTransfer(_ purchase: Purchase, in tickets: TicketNetwork) {
        guard answers.votes.count >= tickets.threshold, case .order(let order) = purchase.payment,
            case .transfer(let to, let amount) = order.content
        else { return }
        let certificate = OrderCertificate(
            order: order,
            votes: answers.votes.map { MintVote(mint: $0.key, signature: $0.value) }
        )
        certificates[sequence] = certificate
        let key = NumberKey.key(sequence)
        sequence += 1
        noteCost(of: purchase)
        self.purchase = nil
        answers = PurchaseAnswers()
        stage = .keeping(
            store([
                RecordWrite(table: Table.purchase, key: [0], value: nil),
                RecordWrite(table: Table.certificate, key: key, value: certificate.encoded),
                standing,
            ])
        )
        for mint in tickets.mints.keys.sorted() {
            ask(mint, .certificate, .certificates([certificate]))
        }
        steps.append(.notice(.transferred(amount, to: to)))
    }

    /// Takes what an order cost off what the mints said before it.
    mutating func noteCost(of purchase: Purchase) {
        guard case .order(let order) = purchase.payment else { return }
        balances = balances.mapValues { $0 - order.cost }
    }

    /// Takes the number of the next order from the mints, where this wallet is an older copy.
    ///
    /// As enough of them have certificates for all below it, none of those numbers is free.
    mutating func catchUp(in tickets: TicketNetwork) {
        guard purchase == nil, draft == nil, standings.count >= tickets.threshold else { return }
        let known = standings.values.sorted(by: >)
        let next = known[tickets.threshold - 1]
        guard next > sequence else { return }
        sequence = next
        _ = store([standing])
    }
}

extension Wallet {
    /// Whether another order of this account stands: nothing can be ordered any more.
    public var isLockedAccount: Bool { isLocked }

    /// Grants some mint has yet to take.
    public var grantCount: Int { grants.count }

    /// Grants under way that at least `count` mints have taken.
    public func grantsTaken(by count: Int) -> Set<Bytes32> {
        Set(grants.filter { $0.value.taken.count >= count }.keys)
    }

    /// Mints that said how the account stands since it changed last.
    public var answeredCount: Int { balances.count }
}
