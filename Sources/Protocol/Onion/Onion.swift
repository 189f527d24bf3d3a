// Onion: the keys of one hop and the layer they seal.
//
// Duty: the X-Wing + X25519 handshake of PROTOCOL.md §B.2 in both roles (link, circuit) and from
// both ends, and the layer of one hop: sealed and opened in place with its own counter and, where
// it is opened, its own replay window.
// Not its duty: who talks to whom (Links, Circuits), when, and over what.
//
// ClientHandshake → CreateBody → ServerHandshake → CreatedBody → HandshakeKeys at both ends
// → LayerSealer at one end, LayerOpener at the other.
