package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// Options of taking a snapshot. Applied is required.
type Options struct {
	// Worker is who takes it.
	Worker string
	// Keep is how many snapshots of the log are kept, the newest ones; less than 1 means 1.
	Keep int
	// Pace, if it is set, bounds how many bytes a second are read from the shard's files: see NewPace.
	Pace *Pace
	// Applied returns nil once everything through a position of the log was applied.
	Applied func(ctx context.Context, position uint64) error
}

// Pace bounds how many bytes a second are read or written.
type Pace = rate.Limiter

// NewPace returns what bounds reading and writing to so many bytes a second; nil, for no bound, when that is 0.
func NewPace(bytes int64) *Pace {
	if bytes <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), ChunkSize)
}

// wait waits until so many bytes, at most those of a chunk, may be read.
func wait(ctx context.Context, pace *Pace, bytes int64) error {
	if pace == nil {
		return ctx.Err()
	}
	return pace.WaitN(ctx, int(bytes))
}

// Taken says what taking a snapshot did.
type Taken struct {
	*Manifest
	// Unchanged: nothing had happened since the snapshot that Manifest is of, and there is no new one.
	Unchanged bool
	// Chunks and Bytes were stored; Known were there already.
	Chunks int
	Bytes  int64
	Known  int
	// Removed are older snapshots that are not kept any more.
	Removed []ID
}

// Take stores a snapshot of an export, and removes older ones of the same log. Errors wrap ErrBusy; vecstore.ErrCorrupt when
// the export's own bytes are damaged, which the shard is told; and those of the store.
func Take(ctx context.Context, store Store, export *vecstore.Export, opt Options) (out Taken, err error) {
	t := &taker{store: store, export: export, opt: opt, src: export.Source(), have: map[Sum]int64{}}
	if t.lock, err = acquire(ctx, store, t.src, opt.Worker); err != nil {
		return out, fmt.Errorf("taking a snapshot of shard %d: %w", t.src.Shard, err)
	}
	defer func() { err = errors.Join(err, t.lock.release(ctx)) }()
	if err := t.take(ctx); err != nil {
		return out, fmt.Errorf("taking a snapshot of shard %d: %w", t.src.Shard, err)
	}
	removed, err := prune(ctx, store, t.src, opt.Keep)
	t.out.Removed = removed
	if err != nil {
		err = fmt.Errorf("removing older snapshots of shard %d: %w", t.src.Shard, err)
	}
	return t.out, err
}

// taker takes one snapshot.
type taker struct {
	store  Store
	export *vecstore.Export
	opt    Options
	src    vecstore.Source
	lock   *lock
	// have is the size of each chunk that is in the store.
	have map[Sum]int64
	// before is the newest snapshot of the same directory, nil where there is none.
	before *Manifest
	buf    []byte
	out    Taken
}

func (t *taker) take(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return err
	}
	if t.unchanged() {
		t.out.Manifest, t.out.Unchanged = t.before, true
		return nil
	}
	m := &Manifest{
		Format: Format, Version: Version, Epoch: t.src.Epoch, Shard: t.src.Shard, StreamCreatedAt: t.src.CreatedAt,
		Position: t.export.Position(), TakenAt: time.Now().UTC(), Worker: t.opt.Worker, Directory: t.export.Directory, Spaces: t.export.Spaces,
	}
	for i := range t.export.Segments() {
		s, err := t.segment(ctx, i)
		if err != nil {
			return err
		}
		m.Segments = append(m.Segments, s)
		m.Records += s.Records
		m.Bytes += s.Length
	}
	if err := t.opt.Applied(ctx, m.Position); err != nil {
		return fmt.Errorf("waiting until everything through position %d is applied: %w", m.Position, err)
	}
	image := t.export.Image()
	m.NextID = image.NextID
	for _, h := range image.Horizons {
		m.Horizons = append(m.Horizons, Row{h.Space, h.Sequence})
	}
	for _, r := range image.GivenUp {
		m.GivenUp = append(m.GivenUp, Row{r.Space, r.Sequence})
	}
	t.out.Manifest = m
	return t.finish(ctx, m)
}

// look finds out what is in the store.
func (t *taker) look(ctx context.Context) error {
	blobs, err := t.store.List(ctx, prefixOf(t.src))
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if sum, ok := chunkOf(b.Name); ok {
			t.have[sum] = b.Size
		}
	}
	for _, f := range found(blobs) {
		m, err := Load(ctx, t.store, f)
		switch {
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrVersion), errors.Is(err, ErrIdentity), errors.Is(err, ErrNotFound):
			continue // one that cannot be built upon
		case err != nil:
			return err
		}
		if m.Directory == t.export.Directory {
			t.before = m
			return nil
		}
	}
	return nil
}

// unchanged tells whether the snapshot before has everything, and is whole.
func (t *taker) unchanged() bool {
	segments := t.export.Segments()
	if t.before == nil || t.before.Position != t.export.Position() || len(t.before.Segments) != len(segments) {
		return false
	}
	for i := range segments {
		// The last one may have got another checkpoint, which says nothing new.
		was := &t.before.Segments[i]
		if was.ID != segments[i].ID || i < len(segments)-1 && was.Length != segments[i].Length || !t.stored(was) {
			return false
		}
	}
	return true
}

// stored tells whether the store has all chunks of a segment.
func (t *taker) stored(s *Segment) bool {
	for i, sum := range s.Chunks {
		if size, ok := t.have[sum]; !ok || size != s.sizeOf(i) {
			return false
		}
	}
	return true
}

// segment stores the chunks of a segment that are not there yet.
func (t *taker) segment(ctx context.Context, i int) (Segment, error) {
	segment := t.export.Segments()[i]
	if s, ok, err := t.known(ctx, i); ok || err != nil {
		return s, err
	}
	out := Segment{ID: segment.ID, Length: segment.Length, Entries: segment.Entries}
	inspector := vecstore.NewInspector(segment.ID, t.src)
	for len(out.Chunks) < chunks(segment.Length) {
		b, err := t.read(ctx, i, len(out.Chunks))
		if err != nil {
			return out, err
		}
		if _, err := inspector.Write(b); err != nil {
			t.export.Damaged(err)
			return out, err
		}
		sum := Sum(sha256.Sum256(b))
		out.Chunks = append(out.Chunks, sum)
		if err := t.put(ctx, sum, b); err != nil {
			return out, err
		}
	}
	out.Records = inspector.Records()
	if err := inspector.End(segment); err != nil {
		t.export.Damaged(err)
		return out, err
	}
	return out, nil
}

// known returns a segment as the snapshot before has it, if that is what it still is. One that was closed by then never
// changes, but for a failed fsync, after which the next open may cut it off and write it anew: then its end differs.
func (t *taker) known(ctx context.Context, i int) (s Segment, ok bool, err error) {
	now := t.export.Segments()
	if t.before == nil || i == len(now)-1 {
		return s, false, nil
	}
	closed := t.before.Segments[:len(t.before.Segments)-1]
	for _, s := range closed {
		if s.ID != now[i].ID || s.Length != now[i].Length || s.Entries != now[i].Entries || !t.stored(&s) {
			continue
		}
		last := len(s.Chunks) - 1
		b, err := t.read(ctx, i, last)
		if err != nil || Sum(sha256.Sum256(b)) != s.Chunks[last] {
			return s, false, err
		}
		t.out.Known += len(s.Chunks)
		return s, true, nil
	}
	return s, false, nil
}

// read returns a chunk of a segment of the export, in memory that the next one takes.
func (t *taker) read(ctx context.Context, segment, chunk int) ([]byte, error) {
	from := int64(chunk) * ChunkSize
	n := min(ChunkSize, t.export.Segments()[segment].Length-from)
	if err := wait(ctx, t.opt.Pace, n); err != nil {
		return nil, err
	}
	if err := t.lock.renew(ctx); err != nil {
		return nil, err
	}
	if t.buf == nil {
		t.buf = make([]byte, ChunkSize)
	}
	b := t.buf[:n]
	if got, err := t.export.Segment(segment).ReadAt(b, from); got < len(b) {
		if err == io.EOF {
			err = fmt.Errorf("%w: segment %d ends at %d", vecstore.ErrCorrupt, t.export.Segments()[segment].ID, from+int64(got))
			t.export.Damaged(err)
		}
		return nil, fmt.Errorf("reading the row log: %w", err)
	}
	return b, nil
}

// put stores a chunk that is not there yet.
func (t *taker) put(ctx context.Context, sum Sum, b []byte) error {
	if size, ok := t.have[sum]; ok && size == int64(len(b)) {
		t.out.Known++
		return nil
	}
	if err := t.store.Put(ctx, chunkName(t.src, sum), b); err != nil {
		return err
	}
	t.have[sum] = int64(len(b))
	t.out.Chunks++
	t.out.Bytes += int64(len(b))
	return nil
}

// finish stores the manifest, which makes it a snapshot, and sees that everything is there that it names.
func (t *taker) finish(ctx context.Context, m *Manifest) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	name := manifestName(t.src, m.ID())
	if err := t.store.Put(ctx, name, b); err != nil {
		return err
	}
	blobs, err := t.store.List(ctx, prefixOf(t.src)+chunkPrefix)
	if err != nil {
		return err
	}
	if err := complete(m, blobs); err != nil {
		return errors.Join(err, t.store.Delete(ctx, name))
	}
	return nil
}

// complete returns ErrCorrupt when the blobs are not all chunks of a snapshot, each with its size. What is in them is not looked at: see
// Verify.
func complete(m *Manifest, blobs []Blob) error {
	have := make(map[Sum]int64, len(blobs))
	for _, b := range blobs {
		if sum, ok := chunkOf(b.Name); ok {
			have[sum] = b.Size
		}
	}
	for _, s := range m.Segments {
		for i, sum := range s.Chunks {
			if size, ok := have[sum]; !ok {
				return fmt.Errorf("%w: chunk %v is missing", ErrCorrupt, sum)
			} else if size != s.sizeOf(i) {
				return fmt.Errorf("%w: chunk %v has %d bytes, want %d", ErrCorrupt, sum, size, s.sizeOf(i))
			}
		}
	}
	return nil
}
