package vecstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Segment names a segment of the row log and says how long it is.
type Segment = rows.Segment

// Horizon says from where on the past of a space can be read.
type Horizon = manifest.Horizon

// GivenUp names a row that could not be applied.
type GivenUp = manifest.Row

// Inspector checks the bytes of a segment as they come; see NewInspector.
type Inspector = rows.Inspector

// NewInspector returns one for the segment of an id that was filled from a source.
func NewInspector(id uint32, src Source) *Inspector { return rows.NewInspector(id, src, nil) }

// ErrNothing is returned by Export for a shard that nothing was written to yet.
var ErrNothing = rows.ErrNothing

// Image is what has to be known beside the bytes of its segments to make a shard's directory again. The columns of graphs
// are not part of it: they are built again from the rows.
type Image struct {
	Source Source
	// Position is the sequence through which the segments have everything.
	Position uint64
	// Segments of the row log in their order, each with its whole length.
	Segments []Segment
	// NextID is an id that no segment has.
	NextID   uint32
	Horizons []Horizon
	GivenUp  []GivenUp
}

// Check returns ErrCorrupt for an image that no shard has had.
func (m *Image) Check() error {
	if len(m.Segments) == 0 {
		return fmt.Errorf("%w: an image without segments", ErrCorrupt)
	}
	if last := m.Segments[len(m.Segments)-1]; last.Length == 0 {
		return fmt.Errorf("%w: an image whose last segment has no length", ErrCorrupt)
	}
	_, err := m.manifest().Encode()
	return err
}

// manifest is that of a directory that was closed cleanly, with a hash key of its own.
func (m *Image) manifest() *manifest.Manifest {
	out := manifest.New(m.Source)
	out.State, out.NextID, out.Segments = manifest.Clean, m.NextID, m.Segments
	out.Horizons, out.GivenUp = m.Horizons, m.GivenUp
	return out
}

// Export is a shard's row log at one moment, readable until Close while the shard goes on: see rows.Export.
type Export struct {
	shard *Shard
	log   *rows.Export
	image Image
	// Directory tells the directory from all others: the ids of segments are those of one directory. 32 hexadecimal digits.
	Directory string
	// Spaces is how many spaces lived.
	Spaces int
}

// Export makes everything that was flushed durable and returns it as of now. The caller closes it.
func (s *Shard) Export(now time.Time) (*Export, error) {
	e := &Export{shard: s}
	var err error
	e.log, err = s.log.Export(now, func() {
		s.manifestMu.Lock()
		defer s.manifestMu.Unlock()
		// Those of this moment and no later ones: forgets at a horizon and below may go with the next rewriting of the
		// log, which the segments of this moment do not know of.
		e.image.Horizons = slices.Clone(s.manifest.Horizons)
		sum := sha256.Sum256(s.manifest.HashKey[:])
		e.Directory = hex.EncodeToString(sum[:16])
	})
	if err != nil {
		return nil, err
	}
	e.Spaces = s.Spaces()
	e.image.Source, e.image.Position = s.src, e.log.Position()
	e.image.Segments, e.image.NextID = e.log.Segments(), e.log.NextID()
	return e, nil
}

// Position returns the sequence through which the export has everything.
func (e *Export) Position() uint64 { return e.image.Position }

// Image returns what is to be kept beside the bytes. It is to be asked for when everything through Position was applied:
// which rows were given up is not known before.
func (e *Export) Image() Image {
	m := e.image
	s := e.shard
	s.givenUp.mu.Lock()
	defer s.givenUp.mu.Unlock()
	s.manifestMu.Lock()
	defer s.manifestMu.Unlock()
	m.GivenUp = nil
	for _, row := range slices.Concat(s.manifest.GivenUp, s.givenUp.pending) {
		if row.Sequence <= m.Position && !slices.Contains(m.GivenUp, row) {
			m.GivenUp = append(m.GivenUp, row)
		}
	}
	return m
}

// Segments returns the segments in the order of the log; the caller must not change the slice.
func (e *Export) Segments() []Segment { return e.log.Segments() }

// Segment returns the bytes of a segment, by its place in Segments.
func (e *Export) Segment(i int) io.ReaderAt { return e.log.Segment(i) }

// Damaged tells the shard of an error that an Inspector had with bytes of the export: see Usable.
func (e *Export) Damaged(err error) { _ = e.shard.inspect(err) }

// Close lets go of the segments.
func (e *Export) Close() error { return e.log.Close() }

// ErrOccupied is wrapped when a directory that is to be made is there already and holds something.
var ErrOccupied = errors.New("the directory holds something")

// unfinished is behind the name of a directory that is being restored.
const unfinished = ".restoring"

// Restore makes a shard's directory of an image, with the bytes that fill writes for each segment, by its place in the
// list. The directory must not be there, or be empty; it is there as a whole, durable, or not at all. Open verifies it as
// one that was closed cleanly.
//
// Errors wrap ErrOccupied; ErrCorrupt, ErrVersion or ErrSource when the bytes are not those of the image; and errors of fill.
func Restore(fsys vfs.FS, dir string, m *Image, fill func(i int, w io.Writer) error) error {
	dir = filepath.Clean(dir)
	if err := m.Check(); err != nil {
		return fmt.Errorf("restoring %s: %w", dir, err)
	}
	if err := vacant(fsys, dir); err != nil {
		return err
	}
	temp := dir + unfinished
	if err := clearDirectory(fsys, temp); err != nil {
		return fmt.Errorf("removing what an earlier restore left in %s: %w", temp, err)
	}
	if err := build(fsys, temp, m, fill); err != nil {
		// What cannot be removed now, the next restore removes.
		_ = clearDirectory(fsys, temp)
		_ = fsys.Remove(temp)
		return fmt.Errorf("restoring %s: %w", dir, err)
	}
	if err := fsys.Rename(temp, dir); err != nil {
		return fmt.Errorf("putting a restored directory into place: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("making the name of a restored directory durable: %w", err)
	}
	return nil
}

func build(fsys vfs.FS, dir string, m *Image, fill func(i int, w io.Writer) error) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	out := m.manifest()
	if err := rows.Build(fsys, dir, m.Source, out.HashKey, m.Segments, fill); err != nil {
		return err
	}
	return out.Store(fsys, dir)
}

// vacant returns ErrOccupied for a directory with something in it.
func vacant(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at the directory to restore into: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s has %s in it; name another one, or move it away", ErrOccupied, dir, names[0])
	}
	return nil
}

// clearDirectory removes the files of a directory, if it is there.
func clearDirectory(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, fsys.Remove(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// Source returns the identity of the log that the export is a view of.
func (e *Export) Source() Source { return e.image.Source }
