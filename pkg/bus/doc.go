// Package bus is how the parts of Engram meet NATS: it connects, makes the streams of package streams exist, names every
// subject, and positions the consumers of the workers.
//
//	conn, err := bus.Connect(bus.Config{URL: "nats://127.0.0.1:4222", Name: "space-worker"})
//	err = conn.WaitConnected(ctx)
//	topology, differences, err := bus.EnsureTopology(ctx, conn.JS, bus.TopologyConfig{})
//
// # What is made, and what is left alone
//
// EnsureTopology creates what does not exist and reports what exists with other settings than the definition asks for. It
// never edits: a limit that an operator has set is the operator's. The record "cluster" of the bucket ENGRAM_META holds
// what can never change for a set of logs, its number of shards, and its epoch; the first daemon writes it by
// compare-and-set and all others read it.
//
// # Incarnations
//
// A stream that is deleted and made again counts from 1 again, under the same name. Its creation time tells the two
// apart, so StreamIdentity is part of every checkpoint and snapshot.
//
// # Outages
//
// A connection is retried for ever. While it is down, publishing fails at once instead of being buffered in memory: a
// write whose client has been told 503 must not reach the log seconds later.
package bus
