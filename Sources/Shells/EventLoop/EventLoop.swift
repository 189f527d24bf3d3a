// EventLoop: what a thread that serves sockets stands on.
//
// Duty: waiting for descriptors and deadlines (`Poller`), being woken by another thread
// (`Wakeup`, `Mailbox`), the machine's clocks and random numbers, threads, and the error every
// shell throws (`IOError`).
// Not its duty: sockets (UDPTransport), the TUN device (TunDevice), or any protocol.
//
// One turn of a loop: `poller.wait(until:now:)` comes back with descriptors that are ready or
// because the deadline has passed; the loop reads the clock, drains what is ready, drains its
// mailboxes when the wakeup's token came, feeds its machines and asks them for the next deadline.
