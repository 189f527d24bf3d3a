// Base: the few plain values every other module stands on.
//
// Duty: time as values (`Instant`, `WallTime`), bytes read and written big-endian with bounds
// checked (`ByteAccess`), identifiers of 32 bytes, socket addresses, and the containers of the
// packet path (`Slab`, `IndexTable`, `ReplayWindow`, `TimerTable`, `TokenBucket`).
// Not its duty: layouts (Wire), keys (CryptoPrimitives), clocks and sockets (shells).
//
// Nothing here reads a clock, draws a random number or allocates once it is set up.
