// TestSupport: what the tests of several modules share.
//
// Duty: reading vector files and hexadecimal digits, seeded generators, damage done to bytes by a
// seed, and one fuzz entry point per decoder (FuzzTargets), which the ordinary tests replay over a
// committed corpus and the fuzzers of Tools drive.
// Not its duty: harnesses of one module, which lie beside that module's tests.
//
// Public, and free of Testing, so that fuzzers outside the package can link it.
