// Observability: counters of a node as Prometheus reads them, and whether the node is well.
//
// Duty: the text format of metrics, and a server for it on this machine's loopback.
// Not its duty: what is counted, and by whom. It knows names and numbers, no protocol.
//
// A node makes a `PrometheusText` every few seconds and gives it to whoever asks the
// `MetricsServer`: what is asked for in between is the same text. So a counter cannot be read at the
// moment a cell passes, and asking costs the node nothing.
