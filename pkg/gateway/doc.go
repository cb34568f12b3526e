// Package gateway takes observations and forgets from any transport to the log.
//
//	transport ── decode ─► Gateway.Observe ── check, define, embed, admit ─► batcher of the shard ── atomic batch ─► log
//	    ▲                                                                         │
//	    └───────────────────────────── reply, once the batch is durable ◄─────────┘
//
// All transports call the same core (observe.go, forget.go); service.go and http.go only read and write bytes.
package gateway
