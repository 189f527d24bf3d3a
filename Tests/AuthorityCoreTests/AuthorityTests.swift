import Testing

/// All suites of the module, one test after the other: each simulates a whole network, and together
/// they would take the processors from tests of other modules that look at clocks.
@Suite("Authorities", .serialized)
struct AuthorityTests {}
