// Package vecstore keeps one shard: the spaces of one log, their observations on disk and searchable.
//
// A Shard is a materialised view of a log. The segmented row log (package rows) is both the local write-ahead log and the
// store of the vectors: each event becomes one record, in the order of its sequence. Everything else is derived from it:
// what is in memory, and the mapped columns (package columns) with the graphs of large spaces.
//
//	Appender.Add, Flush   event → record, one write for a batch        (one goroutine, in sequence order)
//	Shard.Apply           record → searchable, one space at a time     (any goroutine; one per space at a time)
//	linker                tail → graph, in blocks                      (a goroutine of the shard)
//	Shard.Checkpoint      one fsync makes every record durable         (any goroutine)
//	Search, Get, List     answer from what is applied                  (any goroutine, no locks shared with writers)
//	Shard.Compact         reclaims what nobody can read any more       (any goroutine, and by itself)
//
// # What is durable
//
// A flushed record survives the death of the process, since the kernel holds its bytes, and so do the columns. A
// checkpointed record survives the loss of power; columns do so after a clean close alone. Open says what it does with
// what it finds. What is damaged is set aside, never deleted, because the log can always build it again.
//
// The package knows nothing of NATS: sequences and stream identities are given to it.
package vecstore
