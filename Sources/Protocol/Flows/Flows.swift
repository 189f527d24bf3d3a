// Flows: IP packets between a TUN device and cells, and what an exit does to them.
//
// Duty: split the kernel's super-packets (`TunPacket`), pack packets and fragments into cells
// (`CellFill`, `PacketFragmenter`), read them out again (`RecordCursor`, `Reassembler`), merge runs
// of segments for the device (`TunCoalescer`), pin flows to leases (`FlowKey`, `FlowTable`), and at
// the exit: `ExitPolicy`, `LeaseTable`, `AddressRewriter`, `ICMPReply`.
// Not its duty: keys and layers (Onion), control messages (Circuits), devices (shells).
//
// A packet never leaves the shard's arena: everything here takes the arena as a span and ranges of
// it. Client: TUN read -> TunPacket -> FlowTable -> CellFill -> (layers) -> UDP. Exit: (layers) ->
// RecordCursor -> Reassembler -> ExitPolicy -> AddressRewriter -> TunCoalescer -> TUN write.
