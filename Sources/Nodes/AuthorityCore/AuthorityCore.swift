// AuthorityCore: one of the bodies that agree on the directory, as a value.
//
// Duty: descriptors of relays and whether they run (`RelayRegister`), when votes are due
// (`VotingSchedule`), the exchange of votes in f+1 rounds that leaves every honest authority with
// the same set (`VoteExchange`), the consensus of that set and the signatures under it, the chain of
// documents, what must be on disk before anything is said (`AuthorityMemory`), and the machine that
// holds all this together (`AuthorityControl`).
// Not its duty: sockets, clocks, files; layouts (Wire); what votes come to (`VoteTally` in Directory).
//
// A round: descriptors -> vote -> exchange -> tally -> signature -> signatures of others -> publish.
