// Package recall is the public face of recall: it resolves spaces and texts, and forwards each request to the shard
// that can answer it.
//
//	engram.recall.<space> ─► Router ─ space known? text embedded? ─► engram.shard.<n>.recall, with the client's reply subject
//	HTTP ────────────────────┘                                            │
//	                                            client ◄── the answer ────┘
//
// A request over NATS so takes one hop more than the shortest way, and its answer none.
package recall
