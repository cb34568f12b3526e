package columns

import "sync/atomic"

// State is what changes in the header while the file is in use: words in mapped memory, all zero in a new file, that the
// owner gives their meaning, except for the first. Their lifetime is that of the file (see the package).
type State struct {
	// chunks is how many there are. It is raised once a chunk has been mapped.
	chunks atomic.Uint64
	_      uint64
	// Linked is how many rows, from the first, are in the graph.
	Linked atomic.Uint64
	// Linking is the commit mark of the block that is being linked: the rows from Linked to below it may have been linked
	// in part. It equals Linked when there is none.
	Linking atomic.Uint64
	// Slots is how many slots for upper lists have been given out.
	Slots atomic.Uint64
	// Entry is the entry point of the graph, packed by it: hnsw.Memory.Entry. Accessed with sync/atomic.
	Entry uint64
}

const stateWords = 6
