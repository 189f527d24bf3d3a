// CryptoPrimitives: the only module that calls a cryptographic library.
//
// Duty: sealing and opening in place on spans (`AEADKey`), the pieces of the handshake (`XWing`,
// `X25519`, `HKDF`, `SHA256`, `SingleUseAEAD`), signatures (`Ed25519`, `SignatureLabel`), keyed
// hashes (`BLAKE2b`), cookies (`XChaCha20Poly1305`), randomness from a seed (`RandomGenerator`,
// `FillerGenerator`), and memory that is locked while in use and wiped after (`Secret`).
// Not its duty: what is sealed under which key and number (Onion, Links), and where seeds come from.
//
// One packet: `AEADKey.seal` and `AEADKey.open` branch once on the provider and call C; they neither
// allocate nor lock (swift-crypto, the last resort, allocates). Everything else is for handshakes.
