package vecstore

import (
	"errors"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// Metric orders the rows of a space by their nearness to a query. A score is better when it is higher.
type Metric uint8

// The metrics, with the score that each gives.
const (
	// Cosine similarity, -1..1.
	Cosine Metric = 1
	// Dot is the inner product.
	Dot Metric = 2
	// L2 is minus the squared Euclidean distance.
	L2 Metric = 3
)

// Source names the incarnation of the log that a shard is a view of. A directory that was filled from another source
// is never read as this one.
type Source = rows.Source

// Vectors says in which form the row log keeps the embeddings of a space.
type Vectors uint8

// The forms. The numbers are those of the definitions on disk.
const (
	// VectorsF32 keeps them as they came.
	VectorsF32 Vectors = 0
	// VectorsF16 keeps half-precision floats: half the disk, scores to about three digits.
	VectorsF16 Vectors = 1
	// VectorsNone keeps the int8 codes of the index alone: a quarter of the disk, and no re-ranking.
	VectorsNone Vectors = 2
)

// The engines that a definition can name.
const (
	// EngineHNSW scans the newest rows and searches the others through a graph.
	EngineHNSW = "hnsw"
	// EngineExact compares a query with every row.
	EngineExact = "exact"
	// EngineCoder searches through the graph of github.com/coder/hnsw, the baseline of the benchmarks.
	EngineCoder = "coder"
)

// Definition is what is fixed about a space when it is created.
type Definition struct {
	Name string
	// Dimension is the number of components of every embedding of the space.
	Dimension uint32
	Metric    Metric
	// Generation counts the lives of a name, from 1.
	Generation uint32
	// Embedder is kept for those who ask.
	Embedder string
	// Engine is how the space is searched: EngineHNSW, which an empty one means, EngineExact or EngineCoder.
	Engine string
	// Vectors is what the row log keeps of each embedding.
	Vectors Vectors
	// CreatedAt is Unix time in nanoseconds.
	CreatedAt int64
}

// Kind says what an event does.
type Kind uint8

// The kinds of events. The numbers are those of the records on disk.
const (
	KindDefine  Kind = 1
	KindObserve Kind = 2
	KindForget  Kind = 3
	KindDrop    Kind = 4
)

// Event is one event of the log on its way into the shard. The byte slices belong to the caller and must not change
// until Apply has returned.
type Event struct {
	// Sequence is the event's sequence in the log.
	Sequence uint64
	// Published is when the log took it, Unix time in nanoseconds.
	Published int64
	Kind      Kind
	Space     string

	// Definition is set for KindDefine.
	Definition *Definition

	// ID, Vector, Body and ExpiresAt are set for KindObserve. Vector is packed little-endian f32; Body is returned
	// as it is; ExpiresAt is Unix time in nanoseconds, 0 for never.
	ID        string
	Vector    []byte
	Body      []byte
	ExpiresAt int64

	// IDs is set for KindForget.
	IDs []string
	// Filter is what the log says in place of IDs: whoever appends the event finds out before it which they are.
	Filter string

	// Generation is set for KindDrop.
	Generation uint32

	space   *space
	stored  []byte   // Vector as the row log keeps it
	rest    []string // those of IDs that are written as the last record
	ordinal uint64
}

// SpaceKey names the space that an added event belongs to; events with the same key are applied in order by one
// caller at a time. It is nil for events that Add has applied itself (define, drop) and before Add.
func (e *Event) SpaceKey() any {
	if e.space == nil {
		return nil
	}
	return e.space
}

// The refusals of Appender.Add. None of them leaves a trace in the shard.
var (
	// ErrUnknownSpace: the event names a space that no definition came before.
	ErrUnknownSpace = errors.New("unknown space")
	// ErrDimension: the embedding has not the dimension of its space.
	ErrDimension = errors.New("wrong dimension")
	// ErrDefinition: the definition is not one that this version can hold.
	ErrDefinition = errors.New("unusable space definition")
	// ErrTooLarge: the event does not fit into a record.
	ErrTooLarge = rows.ErrTooLarge
)

// Errors of a shard as a whole.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = rows.ErrClosed
	// ErrFailed wraps the first failed fsync. What it should have covered may be lost, so the shard takes nothing
	// more and must be opened again with Options.Distrust.
	ErrFailed = rows.ErrFailed
	// ErrCorrupt wraps what Open and reads find wrong with bytes that had been made durable.
	ErrCorrupt = rows.ErrCorrupt
	// ErrVersion is wrapped when a file was written by an unknown version of the format.
	ErrVersion = rows.ErrVersion
	// ErrSource is wrapped when a directory holds the view of another log.
	ErrSource = rows.ErrSource
	// ErrGone is returned for a position in the past of which replaced or forgotten versions were reclaimed since.
	ErrGone = errors.New("position is older than what is kept")
	// ErrUnsupported is returned for what a space cannot do as it was defined.
	ErrUnsupported = errors.New("not supported by the space")
	// ErrGivenUp is returned by Apply for an observation that an Apply before could not make searchable: it never will be, and is to
	// be observed anew.
	ErrGivenUp = errors.New("the observation was given up before")
	// ErrNotFound is returned when there is no such observation.
	ErrNotFound = errors.New("no such observation")
)
