// Package columns keeps what one generation of a large space needs of each row, at a fixed stride, in one file that is
// mapped into memory: the code of its vector, the sequence in the log, and the adjacency of the graph. The file is derived
// from the row log; whatever is wrong with it, it can be thrown away and built again.
//
// The code of a row stands with what belongs to it (Info). Long codes have a sketch besides, with what belongs to that
// (SketchInfo): a search reads the sketches of many rows and the codes of few.
//
// docs/format/columns.md describes the bytes.
//
// # Chunks
//
// Rows are kept in chunks of the same number of rows, each allocated on the disk before it is mapped, so that a full disk
// is an error of Grow and not a fault, and never mapped again, so that growth does not move what readers look at.
//
// # Lifetime
//
// Every pointer and slice that this package hands out (the fields of State, the base pointers and rows of Chunks) points
// into the mapped file. They may be used as long as the file cannot be unmapped: by the owner, who opened it, until its
// Close; by a reader between an Acquire that returned true and its Release. Later use is a fault that nothing recovers
// from. There are no finalizers.
//
// # Who may do what at once
//
// Grow, Sync, Seal, Settle and Close are the owner's; Grow, Sync, Settle, Verify and VerifyBlock may overlap with each
// other. Any number of readers may use snapshots beside them. Nothing orders the writes to rows: a writer publishes rows
// to readers by an atomic store of its own, and shares the words of the adjacency by package sync/atomic.
//
// # What is durable
//
// Writes to the memory outlive the process. Only Sync makes them survive a loss of power, and nothing tells from the file
// whether it has: so a file is to be trusted when its last user was of this boot of the system (vfs.FS.Identity), or when
// it was sealed and Verify finds every block as it was then. When a Sync has failed, the file says ErrFailed from then on.
package columns
