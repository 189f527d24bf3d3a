// Store: keyed records on disk that power cuts do not lose.
//
// Duty: one SQLite file with one connection of one process (`RecordStore`); a list of changes is
// written whole or not at all, and is on the disk when `apply` returns; a file that is damaged, of
// another program or older than this machine has seen is refused with what to do.
// Not its duty: what the records mean (Tickets, MintCore).
//
// A commit: `RecordWrite`s -> one transaction -> fsync -> return.
