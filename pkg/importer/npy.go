package importer

import (
	"encoding/binary"
	"fmt"
	"strconv"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vector"
)

// npySource makes an observation of each row of an .npy file. Halves travel as halves: half the bytes, the same numbers.
type npySource struct {
	f      *npy.File
	path   string
	prefix string
}

func openNPY(path, prefix string) (Source, error) {
	f, err := npy.Open(path)
	if err != nil {
		return nil, err
	}
	s := &npySource{f, path, prefix}
	if err := s.check(); err != nil {
		_ = f.Close() // what is wrong with the file matters more
		return nil, err
	}
	return s, nil
}

func (s *npySource) check() error {
	if d := s.f.DType(); d != npy.Float32 && d != npy.Float16 {
		return fmt.Errorf("%s: it holds %s, and embeddings are float32 or float16: %w", s.path, d, npy.ErrUnsupported)
	}
	if s.f.Dims() != 2 {
		return fmt.Errorf("%s: it has %d numbers in one dimension; want rows of embeddings, shape (rows, components)", s.path, s.f.Rows())
	}
	if s.f.Cols() > event.MaxDimension {
		return fmt.Errorf("%s: its rows have %d components, and an embedding can have up to %d", s.path, s.f.Cols(), event.MaxDimension)
	}
	return nil
}

func (*npySource) Unit() string            { return "row" }
func (s *npySource) Dimension() int        { return s.f.Cols() }
func (s *npySource) Count() (int64, error) { return int64(s.f.Rows()), nil }
func (s *npySource) Close() error          { return s.f.Close() }

func (s *npySource) Records(emit func(Record) error) error {
	var row []float32
	for i := range s.f.Rows() {
		var err error
		if row, err = s.f.Row(i, row); err != nil {
			return err
		}
		err = emit(Record{
			Number: int64(i), Consumed: int64(i) + 1,
			Observation: &api.Observation{Id: s.prefix + strconv.Itoa(i), Embedding: s.embedding(row)},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *npySource) embedding(row []float32) *api.Embedding {
	if s.f.DType() == npy.Float32 {
		return &api.Embedding{Data: event.AppendF32(make([]byte, 0, 4*len(row)), row), Encoding: api.Encoding_ENCODING_F32}
	}
	halves := make([]byte, 0, 2*len(row))
	for _, x := range row {
		halves = binary.LittleEndian.AppendUint16(halves, vector.F32ToF16(x)) // exact: it came from a half
	}
	return &api.Embedding{Data: halves, Encoding: api.Encoding_ENCODING_F16}
}
