// FlowModel: networks too large for the cores, with circuits as flows instead of cells.
//
// Duty: a network drawn from a NetworkPlan (DrawnNetwork), what each client does in it by the
// production path selection (ClientLife), how relays share their lines among circuits (FairShares),
// and what follows: loads, build times, tickets, directory bytes, guards over a year.
// Not its duty: cells, keys, loss. Those are Simulation's, against which CellLevel compares it.
//
// Two passes. First each client's life, event by event: it depends on the view and on when relays
// are up, not on other clients, so clients run side by side and in any number of threads with one
// result. Then the network, step by step: all circuits that stand share the relays' lines. Time is
// stepped there because one transfer that begins or ends changes the rates of all others; users
// begin and end far more of them than circuits live, and a step is short against a circuit's life.
