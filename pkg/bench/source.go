package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
)

// source gives the observations of a run: observation i is always the same one, so nothing of them needs to be kept.
type source struct {
	file   *npy.File
	dim    int
	spaces int
	zipf   []int // space of each observation, where that is not i mod spaces
	seed   uint64
}

func openSource(cfg *Config) (*source, error) {
	s := &source{dim: cfg.Dim, spaces: cfg.Spaces, seed: cfg.Seed}
	if cfg.Vectors != "" {
		f, err := npy.Open(cfg.Vectors)
		if err != nil {
			return nil, err
		}
		if f.Rows() == 0 || f.Cols() > event.MaxDimension {
			return nil, fmt.Errorf("%s has %d rows of %d components; want rows of up to %d", cfg.Vectors, f.Rows(), f.Cols(), event.MaxDimension)
		}
		s.file, s.dim = f, f.Cols()
	}
	if cfg.Load == "zipf" {
		r := rand.New(rand.NewPCG(cfg.Seed, 2))
		z := rand.NewZipf(r, 1.1, 1, uint64(cfg.Spaces-1))
		s.zipf = make([]int, cfg.Observations)
		for i := range s.zipf {
			s.zipf[i] = int(z.Uint64())
		}
	}
	return s, nil
}

func (s *source) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

func (s *source) space(i int) int {
	if s.zipf != nil {
		return s.zipf[i]
	}
	return i % s.spaces
}

func spaceName(n int) string { return fmt.Sprintf("bench-%d", n) }

func rowID(i int) string { return fmt.Sprintf("r%08d", i) }

// randomEmbeddings returns embeddings to take turns with, where it does not matter what is near to what.
func randomEmbeddings(r *rand.Rand, dim int) []*api.Embedding {
	all := make([]*api.Embedding, 1024)
	for n := range all {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		all[n] = &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
	}
	return all
}

// vector appends the vector of observation i. Where the file is shorter than the run its rows are used again, moved by
// a little noise, so that no two observations are the same.
func (s *source) vector(i int, dst []float32) ([]float32, error) {
	if s.file == nil {
		r := rand.New(rand.NewPCG(s.seed, uint64(i)))
		for range s.dim {
			dst = append(dst, float32(r.NormFloat64()))
		}
		return dst, nil
	}
	dst, err := s.file.Row(i%s.file.Rows(), dst)
	if err == nil && i >= s.file.Rows() {
		r := rand.New(rand.NewPCG(s.seed, uint64(i)))
		for j := range dst {
			dst[j] += float32(r.NormFloat64()) * 0.005
		}
	}
	return dst, err
}

// observation returns observation i as a producer sends it.
func (s *source) observation(i int) (*api.Observation, error) {
	v, err := s.vector(i, make([]float32, 0, s.dim))
	if err != nil {
		return nil, err
	}
	return &api.Observation{
		Id: rowID(i), Embedding: &api.Embedding{Data: event.AppendF32(make([]byte, 0, 4*len(v)), v), Encoding: api.Encoding_ENCODING_F32},
		Metadata: map[string]*api.Value{"row": {Kind: &api.Value_Number{Number: float64(i)}}},
	}, nil
}

// uses tells whether any observation is of a space.
func (s *source) uses(space int) bool { return s.zipf == nil || slices.Contains(s.zipf, space) }
