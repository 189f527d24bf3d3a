// NodeConfiguration: the TOML files an operator writes, as checked values.
//
// Duty: read one file per role (`RelayConfiguration`, `ClientConfiguration`), the trust root every
// node shares (`NetworkConfiguration`) and the parameters an authority signs
// (`ParametersConfiguration`); refuse what is unknown, of the wrong type or out of range, and say
// where it stands and what was probably meant; check and read files that hold secrets.
// Not its duty: acting on any of it.
//
// A file's way: `Document` parses the TOML and lays the environment over it, `SourceMap` remembers
// the line of every key, each `Section` reads values by `ValueKind` and notes every problem, and
// `Document.finish()` throws all of them at once as one `ConfigurationError`.
