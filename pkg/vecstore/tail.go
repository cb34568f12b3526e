package vecstore

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vector"
)

const (
	// blockRows is how many rows are linked in one go, and what a chunk of the tail holds at the most.
	blockRows  = 256
	blockShift = 8
	// firstTailRows is the smallest chunk: the tail of a small space is small.
	firstTailRows = 16
)

// tail has the int8 codes of the rows that are not in the graph, to be scanned. Its chunks are on the heap: whoever looks at
// one keeps it there, so a chunk can be let go at any time. Codes are in the order of components that the kernels of a graph want.
//
// One goroutine writes (who applies), and one beside it lets chunks go whose rows have been linked. A chunk whose room is used
// up is replaced by a larger copy.
type tail struct {
	size int // bytes of a code
	// mu is held while chunks are made or let go. Without it a chunk that goes while the slots are copied to a longer slice
	// would stay in that one, and its bytes would be taken off twice. Who looks at chunks does not take it.
	mu     sync.Mutex
	chunks atomic.Pointer[[]atomic.Pointer[tailChunk]]
	// loaded tells that all rows from linked to high are there. Otherwise they are in the row log alone, but for those from
	// linked to staged, which are about to be linked. Who holds space.warming writes the tail then.
	loaded atomic.Bool
	staged uint32 // under space.warming
	bytes  atomic.Int64
}

// tailScratch is the memory of one encoding: there are many tails, and few are written at a time.
type tailScratch struct {
	v       []float32
	natural []int8
}

var tailScratches = sync.Pool{New: func() any { return new(tailScratch) }}

type tailChunk struct {
	codes []int8
	info  []tailInfo
}

// put adds the code of a row, from its vector as it is stored. It does nothing while the tail is not loaded: the row log
// has the vector.
func (t *tail) put(row uint32, c *codec, stored []byte) error {
	if !t.loaded.Load() {
		return nil
	}
	return t.add(row, c, stored)
}

// reach makes the chunks of the rows from..to that none of is there of yet, so that a scan finds one for each row below high.
func (t *tail) reach(from, to uint32) {
	if !t.loaded.Load() {
		return
	}
	for row := from; row>>blockShift < to>>blockShift; row += blockRows {
		t.room(row)
	}
}

func (t *tail) add(row uint32, c *codec, stored []byte) error {
	return t.encode(t.room(row), int(row%blockRows), c, stored)
}

// encode makes the code at a place of a chunk.
func (t *tail) encode(chunk *tailChunk, i int, c *codec, stored []byte) error {
	w := tailScratches.Get().(*tailScratch)
	defer tailScratches.Put(w)
	v, err := c.load(w.v, c.encoding(), stored)
	if err != nil {
		return err
	}
	w.v, w.natural = v, resize(w.natural, c.dim)
	chunk.info[i] = c.code(chunk.codes[i*t.size:(i+1)*t.size], v, w.natural)
	return nil
}

// room returns the chunk of a row, which has a place for it.
func (t *tail) room(row uint32) *tailChunk {
	n, i := int(row>>blockShift), int(row%blockRows)
	if c := t.chunk(row); c != nil && i < len(c.info) {
		return c // it is there until this row is linked
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var slots []atomic.Pointer[tailChunk]
	if p := t.chunks.Load(); p != nil {
		slots = *p
	}
	if n >= len(slots) {
		grown := make([]atomic.Pointer[tailChunk], max(n+1, 2*len(slots)))
		for j := range slots {
			grown[j].Store(slots[j].Load())
		}
		slots = grown
		t.chunks.Store(&slots)
	}
	old := slots[n].Load()
	size := firstTailRows
	for size <= i {
		size *= 2
	}
	if n > 0 {
		size = blockRows
	}
	chunk := &tailChunk{codes: make([]int8, size*t.size), info: make([]tailInfo, size)}
	grown := size
	if old != nil {
		copy(chunk.codes, old.codes)
		copy(chunk.info, old.info)
		grown -= len(old.info)
	}
	slots[n].Store(chunk)
	t.bytes.Add(int64(grown) * int64(t.size+8))
	return chunk
}

// chunk returns the chunk of a row, nil when it is not there (any more).
func (t *tail) chunk(row uint32) *tailChunk { return chunkOf(t.chunks.Load(), row) }

func chunkOf(p *[]atomic.Pointer[tailChunk], row uint32) *tailChunk {
	if p == nil || int(row>>blockShift) >= len(*p) {
		return nil
	}
	return (*p)[row>>blockShift].Load()
}

// code returns the code of a row that is in the tail.
func (t *tail) code(row uint32) ([]int8, tailInfo) {
	c, i := t.chunk(row), int(row%blockRows)
	return c.codes[i*t.size : (i+1)*t.size], c.info[i]
}

// drop lets go of the chunks whose rows are all below a row.
func (t *tail) drop(below uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.chunks.Load()
	if p == nil {
		return
	}
	for n := range min(int(below>>blockShift), len(*p)) {
		if c := (*p)[n].Swap(nil); c != nil {
			t.bytes.Add(-int64(len(c.info)) * int64(t.size+8))
		}
	}
}

// evict lets go of everything.
func (t *tail) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded.Store(false)
	t.staged = 0
	t.chunks.Store(nil)
	t.bytes.Store(0)
}

// scan calls visit with the distances of the rows from..to, one chunk at a time; those that applied says false of have none,
// and stand at infinity. It returns false when a chunk is gone: its rows have been linked, or the tail was evicted, since
// the caller looked.
func (t *tail) scan(chunks *[]atomic.Pointer[tailChunk], c *codec, q *query, from, to uint32, applied func(uint32) bool, visit func(first uint32, d []float32, info []tailInfo)) bool {
	for from < to {
		end := min(to, (from|(blockRows-1))+1)
		chunk := chunkOf(chunks, from)
		if chunk == nil {
			return false
		}
		t.compare(chunk, c, q, from, end, applied, visit)
		from = end
	}
	return true
}

// compare is scan for rows of one chunk.
func (t *tail) compare(chunk *tailChunk, c *codec, q *query, from, end uint32, applied func(uint32) bool, visit func(first uint32, d []float32, info []tailInfo)) {
	var dots [blockRows]int32
	var out [blockRows]float32
	i := int(from % blockRows)
	// Rows that are not applied yet may have no place at the end.
	n := min(int(end-from), len(chunk.info)-i)
	if n <= 0 {
		return
	}
	vector.DotI8Block(q.Code, chunk.codes[i*t.size:], t.size, dots[:n])
	info := chunk.info[i : i+n]
	for j, d := range dots[:n] {
		if out[j] = float32(math.Inf(1)); applied(from + uint32(j)) {
			out[j] = c.distance(float32(d)*info[j].scale*q.Scale, info[j].norm)
		}
	}
	visit(from, out[:n], info)
}
