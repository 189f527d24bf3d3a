import Base
public import ControlAPI
import EventLoop
import Tickets
import Wire

extension RelayNode: EarningsService {
    /// What the relay earned.
    public func earnings() async throws(Failure) -> EarningsReport {
        let sum: RelayPayments.Earnings? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            let isPosted = control.post(.payments(.earnings { once.resume($0) }))
            if !isPosted { once.resume(nil) }
        }
        guard let sum else {
            throw Failure(
                "the relay does not say what it earned",
                why: "its control thread is overrun, or ends",
                hint: "try again",
                exit: .temporary
            )
        }
        return EarningsReport(
            account: identity.rawValue.hex,
            served: sum.earnings.served,
            deposited: sum.earnings.deposited,
            credited: sum.earnings.credited,
            expired: sum.earnings.expired,
            waiting: sum.earnings.waiting,
            vouchers: sum.earnings.vouchers,
            burnPerMille: sum.burnPerMille,
            problems: sum.problems,
            days: sum.days.map { day, earnings in
                EarningsReport.Day(
                    day: day,
                    served: earnings.served,
                    deposited: earnings.deposited,
                    credited: earnings.credited,
                    expired: earnings.expired
                )
            }
        )
    }
}
