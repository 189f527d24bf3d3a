// MintCore: one mint as a value; no input, no output.
//
// Duty: the ledger (`Ledger`) of accounts, orders, deposits, grants and reclaims, and the machine
// around it (`MintControl`): requests in; replies, key work (`MintJob`) and changes of the ledger
// (`RecordWrite`s) out. What was asked is answered only once its changes are on disk, and the same
// order is answered by the same bytes for ever.
// Not its duty: sealing, HTTP, SQLite (NodeRuntime, Store); what a voucher is (Tickets).
//
// An order: `receive` -> checks -> `MintJob.sign` -> debit and reply in one commit -> reply.
