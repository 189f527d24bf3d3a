public import Wire

/// Which voucher a hop is shown next: the first of an order that the wallet has.
///
/// Spec: §A.1.
public enum VoucherChoice {
    /// The order for a hop that was shown `openedCount` vouchers; a guard over all circuits.
    ///
    /// - Parameter isFast: whether the last one was used up fast, see ``OpenVoucher/isFast(at:)``: then
    ///   a bulk one comes first, where there is one.
    public static func order(
        after openedCount: Int,
        isGuard: Bool,
        isFast: Bool
    ) -> [Denomination] {
        switch openedCount {
        case 0 where !isGuard: [.trial, .small, .large]
        case 1 where !isGuard: [.small, .trial, .large]
        case 2... where isFast: [.bulk, .large, .small, .trial]
        default: [.large, .small, .trial]
        }
    }
}
