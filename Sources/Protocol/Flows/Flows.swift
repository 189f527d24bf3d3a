// Flows: see the module's duty in PROTOCOL.md.
