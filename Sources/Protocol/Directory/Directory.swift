// Directory: who is in the network, and how a node comes to believe it.
//
// Duty: descriptors signed by their relays (`SignedDescriptor`), the pure function from descriptors
// to a consensus (`ConsensusBuilder`), documents that collect signatures (`ConsensusDocument`),
// the authorities and their threshold (`TrustRoot`), proof of two documents for one interval
// (`Equivocation`), the log that chains documents (`DirectoryLog`), what a node keeps of all this
// (`KnownDirectory`) and the lookup the rest of the house uses (`NetworkView`).
// Not its duty: layouts (Wire), files and fetching (shells), choosing paths (Paths).
//
// A document's way: bytes -> ConsensusDocument -> TrustRoot.verify -> NetworkView -> Paths.
