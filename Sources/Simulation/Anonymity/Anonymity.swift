// Anonymity: adversaries as code, and how much they learn.
//
// Duty: what is seen where (`Observations/`: records, vantage points, colluding relays), attacks that
// score how well a flow at an exit fits a client's link (`Attacks/`: rates, timing, volumes, start and
// stop, intersection, watermarks by droppers and delayers), figures of merit with their uncertainty
// (`Scores/`), and sending processes as models of single flows, ours and others' (`Sending/`).
// Not its duty: making traffic (Workloads), running networks (Simulation, labs), drawing reports.
//
// Times of cells → a `SendingProcess`, a simulated network or a lab → `FlowTrace`s at both ends → an
// attack fills a `ScoreMatrix` → `Verdict`.
