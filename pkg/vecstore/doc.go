// Package vecstore keeps one shard: the spaces of one log, their observations on disk and searchable in memory.
//
// A Shard is a materialised view of a log. Its one file kind, the segmented row log (format.go), is both the local
// write-ahead log and the store of the rows: each event of the log becomes one record, in the order of its sequence,
// and the in-memory state is what a replay of the records gives.
//
//	Appender.Add, Flush   event → record, one write for a batch        (one goroutine, in sequence order)
//	Shard.Apply           record → searchable, one space at a time     (any goroutine; one per space at a time)
//	Shard.Checkpoint      one fsync makes every record durable         (any goroutine)
//	Search, Get, List     answer from what is applied                  (any goroutine, no locks shared with writers)
//
// # What is durable
//
// A flushed record survives the death of the process, since the kernel holds its bytes. A checkpointed one survives
// the loss of power. Open verifies every record: what follows the last checkpoint may be torn and is cut off at the
// first bad byte; a bad byte below it is corruption, and the whole directory is set aside (never deleted), because the
// log can always build it again.
//
// The package knows nothing of NATS: sequences and stream identities are given to it.
package vecstore
