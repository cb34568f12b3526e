// Package load is the clients of an Engram while it is broken on purpose: writers that observe, replace and forget in many small
// spaces and a few larger ones, over every transport, readers that hold each answer against what they have seen, and probes
// that measure when a shard takes a write and finds it again. All of it goes into a ledger of package history, and at the end
// everything is read back.
package load
