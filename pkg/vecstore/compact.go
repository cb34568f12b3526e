package vecstore

import "context"

// Compaction says what compacting a space changed.
type Compaction struct {
	// Before and After count the rows of the space, hidden ones included; Reclaimed is the difference.
	Before, After, Reclaimed uint64
	// BytesBefore and BytesAfter are the size of the shard's row log.
	BytesBefore, BytesAfter int64
}

// Compact reclaims what nobody can read any more in a space: rows that were replaced, forgotten or have expired longer
// ago than Options.KeepVersions, in the index and in the row log. Ingest and recall go on meanwhile.
func (s *Shard) Compact(ctx context.Context, name string) (Compaction, error) {
	return Compaction{}, ErrUnsupported
}
