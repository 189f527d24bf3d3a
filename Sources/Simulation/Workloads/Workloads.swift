// Workloads: what people do with a network, as transfers in time, from a seed.
//
// Duty: models of traffic after published facts, each with its source in its comment (`WebModel`,
// `VideoModel`, `ChatModel`), draws from their distributions, traffic read from a packet capture
// (`PacketReplay`), and transfers laid onto a line as cells (`CellLine`).
// Not its duty: carrying any of it. The simulator and the lab do that.
//
// A model makes `Transfer`s → the simulator runs them as streams, the lab as connections, and the
// flow models of Anonymity as times of cells.
