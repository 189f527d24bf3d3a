// Paths: which three relays a circuit goes through.
//
// Duty: the rules two relays of a path must keep (`PathRules`), how much of a position each kind of
// relay takes (`PositionWeights`) and each relay (`RelayWeights`), the guards a client stays with (`GuardSample`), the middles it
// keeps for days (`MiddleSet`), relays that failed lately (`FailureTable`), and the choice itself
// (`PathSelector`), which says which rule left no path (`PathError`).
// Not its duty: building circuits, isolation of flows, disks: `GuardSample` and `MiddleSet` are
// values with bytes to store.
//
// A choice: exits that suit the wish -> the first guard of the sample that answers -> an exit that
// goes with it, by weight -> one of the kept middles.
