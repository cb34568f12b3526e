package event

// Limits of an observation and of a recall; docs/wire.md lists them for users.
const (
	// MaxID is the longest id of an observation, in bytes.
	MaxID = 256
	// MaxWriteID is the longest idempotency key, in bytes.
	MaxWriteID = 256
	// MaxSession is the longest session id, in bytes.
	MaxSession = 64
	// MaxTag is the longest tag of a frame that is answered with it, in bytes.
	MaxTag = 128
	// MaxText is the longest text of an observation, in bytes of UTF-8.
	MaxText = 64 << 10
	// MaxMetadata is the largest metadata of an observation, in bytes of all keys and values together.
	MaxMetadata = 16 << 10
	// MaxMetadataKeys is the largest number of metadata keys of an observation.
	MaxMetadataKeys = 128
	// MaxDimension is the largest dimension of a space.
	MaxDimension = 4096
	// MaxBatch is the largest number of observations of one request: one atomic batch of the server, less one for the
	// definition of a new space.
	MaxBatch = 999
	// MaxK is the largest number of hits of one recall.
	MaxK = 1000
	// DefaultK is the number of hits when a recall does not say.
	DefaultK = 10
	// MaxEf is the longest candidate list of a recall.
	MaxEf = 10_000
	// MaxList is the largest page of a list, and the largest number of ids of a get or forget.
	MaxList = 1000
	// DefaultList is the page of a list that does not say.
	DefaultList = 100
	// MaxFilter is the longest filter expression, in bytes.
	MaxFilter = 4096
	// MaxSpaces is the largest number of spaces of one recall.
	MaxSpaces = 256
	// MaxPaged is how many hits all pages of one recall can have together.
	MaxPaged = 10_000
)
