// Package worker makes a log searchable: it holds shards, each a local view of one stream, and answers for them.
//
//	stream ── pull ─► fetch ── decode, check ─► row log ─► lanes (high, normal) ─► turns of the spaces ─► mailbox ─► index worker
//	                    │                                                                                               │
//	                    └── poison ─► quarantine                         watermark ◄── searchable ──────────────────────┘
//	                                                                         │
//	                                                     checkpoint ─► AckAll, heartbeat
//
// fetch.go follows the stream and writes the row log in its order; turns.go, pool.go and mailbox.go make rows searchable, by
// priority, with the spaces taking turns, and on all cores; watermark.go knows what is contiguous; checkpoint.go makes it durable and acknowledges;
// service.go answers recalls. The worker trusts its own recorded position, never the consumer's: a consumer is set to it
// at every start.
package worker
