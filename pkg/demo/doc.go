// Package demo shows Engram at work: Run starts an all-in-one node, loads real text into it over NATS while recalls run
// beside, waits until all of it is searchable, asks five questions and says what it measured.
//
// Nothing in here is a shortcut: text goes through the gateway as any producer's does, and every figure comes from what
// the node tells any client.
//
//	corpus ─► requests of one space ─► engram.observe.<space> ─► node
//	                                   engram.recall.<space>  ◄─ steady stream of recalls, then the questions
//	                                   engram.heartbeat.*     ─► staleness
//	                                   engram.spaces          ─► what is searchable
package demo
