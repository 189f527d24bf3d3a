// Mixing: when cells of `padded` and `mix` circuits leave.
//
// Duty: the grid of slots all nodes share and the clock behind it (SlotClock), cells that wait for
// their slot (HeldCell, ReleaseQueue, with their bodies in a CellStore), the rates of `padded`
// (RateLadder), and what a client makes of how its cells come (GridWatch).
// Not its duty: layers and parity (Circuits), links and their PAD (Links), circuits and timers
// (ClientCore, RelayCore).
//
// A cell: it comes → CellStore and ReleaseQueue → its slot begins, or the ladder's time has come →
// sealed, where it was not → link.
// Spec: PROTOCOL.md §D.
