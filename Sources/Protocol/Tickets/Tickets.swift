// Tickets: money of the network, as clients, relays and mints each keep it; no input, no output.
//
// Duty: the mints' keys and lifetimes of an epoch (`TicketNetwork`), chains of ticks
// (`PaymentChain`), checking vouchers off line (`VoucherCheck`), what a relay was paid
// (`VoucherBook`), what a client owns and orders (`Wallet`), how much it owes a hop of a circuit
// (`HopPayer`) by which voucher (`VoucherChoice`, `OpenVoucher`), and whether it gets what it pays for
// (`ServiceJudge`).
// Not its duty: the mints' ledger (MintCore), bytes on disk (Store), circuits (node cores).
//
// A tick: the shard counts 256 cells -> `HopPayer.owed` -> PAY_TICK -> `VoucherBook.pay`: one hash.
