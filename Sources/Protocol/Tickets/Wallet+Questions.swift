public import Base
import CryptoPrimitives
public import Wire

/// What the mints said to the order or claim that is on its way.
struct PurchaseAnswers {
    /// Blind signatures, by mint.
    var replies: [UInt8: [[UInt8]]] = [:]
    /// Votes, by mint.
    var votes: [UInt8: [UInt8]] = [:]
    /// The first certificate each mint lacks.
    var lacking: [UInt8: UInt64] = [:]
    /// The balance at mints that found it too small.
    var poor: [UInt8: Credits] = [:]
    /// When each mint is asked again.
    var retryAt: [UInt8: Instant] = [:]
}

// What is asked of the mints, and what their answers do.
extension Wallet {
    mutating func ask(_ mint: UInt8, _ question: Question, _ request: MintRequest) {
        let number = nextNumber
        nextNumber += 1
        questions[number] = question
        steps.append(.ask(number, mint: mint, request))
    }

    /// Learns that a question got no answer.
    public mutating func failed(_ number: UInt64, now: Instant) {
        guard let question = questions.removeValue(forKey: number) else { return }
        if case .purchase(let mint) = question { answers.retryAt[mint] = now + Self.retry }
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

    mutating func receive(
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
            answers.votes[mint] = signature
            answers.replies[mint] = blind
            finalizeIfComplete(voters(for: purchase, in: tickets), in: tickets)
        case .refused(let reason, let detail):
            refused(reason, detail, by: mint, in: tickets, now: now)
        case .account, .taken: return
        }
    }

    mutating func refused(
        _ reason: MintRefusal,
        _ detail: UInt64,
        by mint: UInt8,
        in tickets: TicketNetwork,
        now: Instant
    ) {
        guard let purchase else { return }
        switch reason {
        case .needsCertificates:
            answers.lacking[mint] = min(detail, sequence)
            answers.retryAt[mint] = now
            askAll(in: tickets, now: now)
        case .balance:
            answers.poor[mint] = Credits(hundredths: detail)
            balances[mint] = Credits(hundredths: detail)
            answers.retryAt[mint] = now + Self.moneyRetry
            let set = voters(for: purchase, in: tickets)
            guard answers.replies.isEmpty, set.allSatisfy({ answers.poor[$0] != nil }) else {
                return
            }
            // Nobody voted for it, and it is not sent again: the number is free.
            steps.append(.notice(.poor(answers.poor.values.min() ?? .zero)))
            // A bulk voucher is never waited for, and large ones are bought in its place.
            let isBulk = purchase.vouchers.first?.content.denomination == .bulk
            abandon(now: now, pause: isBulk ? .zero : Self.moneyRetry)
        case .conflict:
            isLocked = true
            steps.append(.notice(.locked(sequence: detail)))
        case .spent:
            guard case .claim(_, let name) = purchase.payment, answers.replies.isEmpty else {
                return
            }
            // More was spent than was noted: the claim is made anew by what is on record.
            let index = UInt32(clamping: detail)
            if index > vouchers[name]?.spent ?? 0 {
                note(spent: index, of: name)
            } else {
                drop(name)
            }
            abandon(now: now, pause: .zero)
        case .outOfTime, .malformed:
            guard case .claim(_, let name) = purchase.payment, answers.replies.isEmpty else {
                return
            }
            if reason == .malformed { drop(name) }
            abandon(now: now, pause: Self.moneyRetry)
        case .notSigning, .wrongList, .unavailable, .busy:
            answers.retryAt[mint] = now + Self.retry
        }
    }
}
