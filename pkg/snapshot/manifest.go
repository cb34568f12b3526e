package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// Format and Version are what a manifest begins with.
const (
	Format  = "engram-snapshot"
	Version = 1
)

// ChunkSize is the size in bytes of all chunks of a segment but the last one.
const ChunkSize = 4 << 20

// maxManifest is the size of the largest manifest that is read: that of two terabytes of row log.
const maxManifest = 64 << 20

// Errors of manifests.
var (
	// ErrCorrupt is wrapped when a snapshot is not what was stored.
	ErrCorrupt = errors.New("damaged snapshot")
	// ErrVersion is wrapped when a manifest was written by a later version of Engram.
	ErrVersion = errors.New("unknown version of a snapshot")
	// ErrIdentity is wrapped when a snapshot is one of another log than the one that is asked for.
	ErrIdentity = errors.New("snapshot of another log")
)

// Manifest says what a snapshot is of and which chunks it has.
type Manifest struct {
	Format  string `json:"format"`
	Version int    `json:"version"`

	// Epoch, Shard and StreamCreatedAt (Unix nanoseconds) name the incarnation of the log.
	Epoch           string `json:"epoch"`
	Shard           uint32 `json:"shard"`
	StreamCreatedAt int64  `json:"stream_created_at"`
	// Position is the sequence of the log through which everything is in the snapshot, and was applied when it was taken.
	Position uint64    `json:"position"`
	TakenAt  time.Time `json:"taken_at"`
	Worker   string    `json:"worker"`
	// Directory tells the directory that it was taken of from all others: the ids of segments are those of one directory.
	Directory string `json:"directory"`

	// Records and Bytes are those of all segments; Spaces is how many spaces lived.
	Records int   `json:"records"`
	Bytes   int64 `json:"bytes"`
	Spaces  int   `json:"spaces"`

	NextID   uint32    `json:"next_id"`
	Segments []Segment `json:"segments"`
	Horizons []Row     `json:"horizons,omitempty"`
	GivenUp  []Row     `json:"given_up,omitempty"`
}

// Segment is a segment of the row log.
type Segment struct {
	ID      uint32 `json:"id"`
	Length  int64  `json:"length"`
	Entries uint32 `json:"entries"`
	Records int    `json:"records"`
	// Chunks are its bytes, each of ChunkSize but for the last one.
	Chunks []Sum `json:"chunks"`
}

// Row is a sequence in a space, which is told by its number in the row log.
type Row struct {
	Space    uint32 `json:"space"`
	Sequence uint64 `json:"sequence"`
}

// Source returns the incarnation of the log that the snapshot is of.
func (m *Manifest) Source() vecstore.Source {
	return vecstore.Source{Epoch: m.Epoch, Shard: m.Shard, CreatedAt: m.StreamCreatedAt}
}

// ID returns the snapshot's name among those of its log.
func (m *Manifest) ID() ID { return ID{m.Position, m.TakenAt} }

// Chunks returns how many chunks the snapshot has, those included that stand in it more than once.
func (m *Manifest) Chunks() (n int) {
	for _, s := range m.Segments {
		n += len(s.Chunks)
	}
	return n
}

// image is what the store of a shard needs to know of it.
func (m *Manifest) image() *vecstore.Image {
	out := &vecstore.Image{Source: m.Source(), Position: m.Position, NextID: m.NextID}
	for _, s := range m.Segments {
		out.Segments = append(out.Segments, vecstore.Segment{ID: s.ID, Length: s.Length, Entries: s.Entries})
	}
	for _, r := range m.Horizons {
		out.Horizons = append(out.Horizons, vecstore.Horizon{Space: r.Space, Sequence: r.Sequence})
	}
	for _, r := range m.GivenUp {
		out.GivenUp = append(out.GivenUp, vecstore.GivenUp{Space: r.Space, Sequence: r.Sequence})
	}
	return out
}

// chunks returns how many chunks a segment of a length has.
func chunks(length int64) int { return int((length + ChunkSize - 1) / ChunkSize) }

// sizeOf returns the size of a chunk of a segment, by its place.
func (s *Segment) sizeOf(chunk int) int64 {
	return min(ChunkSize, s.Length-int64(chunk)*ChunkSize)
}

// check returns ErrCorrupt for a manifest that nobody writes.
func (m *Manifest) check() error {
	var records int
	var length int64
	for _, s := range m.Segments {
		if s.Length <= 0 || len(s.Chunks) != chunks(s.Length) {
			return fmt.Errorf("%w: segment %d of %d bytes has %d chunks", ErrCorrupt, s.ID, s.Length, len(s.Chunks))
		}
		records += s.Records
		length += s.Length
	}
	switch {
	case m.Format != Format:
		return fmt.Errorf("%w: it says that it is %q", ErrCorrupt, m.Format)
	case m.Shard >= event.MaxShards || CheckName(m.Epoch+"/0") != nil || m.StreamCreatedAt <= 0:
		return fmt.Errorf("%w: it is of epoch %q, shard %d, and a stream created at %d", ErrCorrupt, m.Epoch, m.Shard, m.StreamCreatedAt)
	case m.Position == 0 || m.TakenAt.IsZero() || m.TakenAt.UnixNano() <= 0:
		return fmt.Errorf("%w: it is of position %d at %v", ErrCorrupt, m.Position, m.TakenAt)
	case records != m.Records || length != m.Bytes:
		return fmt.Errorf("%w: its segments have %d records and %d bytes, and it says %d and %d", ErrCorrupt, records, length, m.Records, m.Bytes)
	}
	if err := m.image().Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// trailerMark begins the last line of a manifest.
const trailerMark = "sha256 "

// Encode returns the bytes of a manifest: JSON in one line, and the SHA-256 of that line in another one.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a manifest: %w", err)
	}
	b = append(b, '\n')
	sum := sha256.Sum256(b)
	b = append(b, trailerMark...)
	b = append(hex.AppendEncode(b, sum[:]), '\n')
	if len(b) > maxManifest {
		return nil, fmt.Errorf("the manifest of a snapshot would have %d bytes, and at most %d are read", len(b), maxManifest)
	}
	return b, nil
}

// Decode reads the bytes of a manifest. Its errors wrap ErrCorrupt and ErrVersion.
func Decode(b []byte) (*Manifest, error) {
	const trailer = len(trailerMark) + 2*sha256.Size + 1
	if len(b) > maxManifest || len(b) <= trailer {
		return nil, fmt.Errorf("%w: a manifest of %d bytes", ErrCorrupt, len(b))
	}
	body, end := b[:len(b)-trailer], b[len(b)-trailer:]
	sum := sha256.Sum256(body)
	if string(end) != trailerMark+hex.EncodeToString(sum[:])+"\n" {
		return nil, fmt.Errorf("%w: the manifest does not end with its own checksum", ErrCorrupt)
	}
	var head struct{ Version int }
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("%w: the manifest is not JSON: %w", ErrCorrupt, err)
	}
	if head.Version != Version {
		return nil, fmt.Errorf("%w: the manifest has version %d, and this program reads version %d; use the version of Engram that wrote it, or a later one",
			ErrVersion, head.Version, Version)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	m := new(Manifest)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: the manifest cannot be read: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the manifest", ErrCorrupt)
	}
	m.TakenAt = m.TakenAt.UTC()
	return m, m.check()
}
