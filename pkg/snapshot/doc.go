// Package snapshot keeps copies of shards in a store that is none of the shard's own disk: a directory, a bucket of
// JetStream, or anything that speaks S3.
//
// A snapshot is a manifest that names chunks by what is in them. Chunks are pieces of the segments of a row log, cut at
// fixed places, so what has not changed since an earlier snapshot is there already and is not stored again. A manifest is
// written last: without one there is no snapshot, and what a process that died has left behind is removed by the next one.
//
// docs/format/snapshot.md has the names and the bytes.
package snapshot
