// Package hnsw builds and searches a Hierarchical Navigable Small World graph over rows that its caller keeps. It does
// no I/O and allocates no memory for vectors or links: Rows computes distances, Memory holds the adjacency.
//
// The algorithm is that of Yu. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor search
// using Hierarchical Navigable Small World graphs" (IEEE TPAMI 42(4), 2020): M, efConstruction and ef are what they are
// there, and neighbours are chosen by the diversity heuristic of its algorithm 4. It differs in two points.
//
// # Slack
//
// A base-layer list holds up to Config.Cap links and is pruned to at most 2·M only when it is full, so most links are
// added by appending one word.
//
// # Blocks
//
// Rows are inserted in blocks, each in two phases. First every row of the block searches the graph as it was before the
// block, is compared with the rows of the block before it, and chooses its neighbours; then the links back to it are
// added, each list in the order of the rows. Within a phase nothing depends on what another row of the block does, so
// the rows are spread over threads, and the graph is the same whatever their number.
//
// # Concurrency
//
// One goroutine inserts; any number search beside it without a lock. Links are words that are stored and loaded
// atomically, the count of a list after the ids that it counts, so a search sees each list as it was before a change, as it
// is after it, or, where a list is being pruned, some of both: always ids of rows that are there.
package hnsw
