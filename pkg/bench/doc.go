// Package bench measures Engram on the machine it runs on: the pipeline from producers to searchable rows, next to what
// the same JetStream moves without it, and the queue next to a Go channel.
//
// Every figure is counted, not assumed: what was lost or doubled is found by asking the index for all of it.
package bench
