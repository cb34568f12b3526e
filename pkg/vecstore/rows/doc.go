// Package rows keeps the events of a shard in an append-only log of segments: the local write-ahead log and the store of
// the vectors, texts and metadata at once. Beside each segment stands an index of small fixed entries, so that the log of
// a process that was killed opens without reading the records.
//
// Which segments there are and in which order is not told by the directory but by the manifest, which the caller keeps
// (package manifest): a Log asks for it to be stored with Options.Commit whenever the list changes, and a file that the
// manifest does not name is not part of the log.
//
// # Goroutines
//
// One goroutine adds, skips and flushes. Any number read, beside it and beside each other. Checkpoint, Rewrite, Replace,
// Retire and Close may be called from any goroutine.
//
// # What is durable
//
// What Flush wrote survives the death of the process. What it wrote before a Checkpoint that succeeded survives the loss
// of power. A failed fsync of what was appended fails the log for good (ErrFailed).
package rows
