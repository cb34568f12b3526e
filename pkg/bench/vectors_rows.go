package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
)

// rowSource gives the rows of a run: row i is always the same one, so nothing of them needs to be kept. It is used by one
// goroutine at a time.
type rowSource struct {
	file  *npy.Reader // nil for generated rows
	dim   int
	noise []float32 // normal numbers, of which each row has its own stretch
	basis []float32 // of generated rows: dim × latent
	pcg   rand.PCG
}

const (
	// noiseSigma is the standard deviation of the noise in each component of a row that is used again, as a share of the
	// row's length.
	noiseSigma = 0.005
	// latent is the number of dimensions that generated rows vary in, for the most part: rows without structure have no
	// near neighbours, and no index finds them.
	latent     = 16
	noiseTable = 1 << 16
)

// newRowSource gives the rows of a file, or generated ones of dim components when there is none.
func newRowSource(file *npy.Reader, dim int) *rowSource {
	s := &rowSource{file: file, dim: dim, noise: make([]float32, noiseTable)}
	r := rand.New(rand.NewPCG(1, 5))
	for i := range s.noise {
		s.noise[i] = float32(r.NormFloat64())
	}
	if file != nil {
		s.dim = file.Cols()
		return s
	}
	s.basis = make([]float32, latent*dim)
	for i := range s.basis {
		s.basis[i] = float32(r.NormFloat64())
	}
	return s
}

// row returns row i, in dst if that has room. Where the file is shorter its rows are used again, moved by noise.
func (s *rowSource) row(i int, dst []float32) ([]float32, error) {
	if i < 0 {
		return nil, fmt.Errorf("there is no row %d", i)
	}
	s.pcg.Seed(1, uint64(i))
	if s.file == nil {
		return s.generate(dst), nil
	}
	dst, err := s.file.Row(i%s.file.Rows(), dst)
	if err == nil && i >= s.file.Rows() {
		s.disturb(dst, noiseSigma*norm(dst))
	}
	return dst, err
}

// disturb adds noise from a place in the table that the row number leads to.
func (s *rowSource) disturb(v []float32, sigma float32) {
	at := s.pcg.Uint64()
	for j := range v {
		v[j] += sigma * s.noise[(at+uint64(j))%noiseTable]
	}
}

// generate makes a row of unit length: a random point of latent dimensions, and a little noise.
func (s *rowSource) generate(dst []float32) []float32 {
	if cap(dst) < s.dim {
		dst = make([]float32, s.dim)
	}
	dst = dst[:s.dim]
	clear(dst)
	at := s.pcg.Uint64()
	for l := range latent {
		z := s.noise[(at+uint64(l))%noiseTable] / float32(math.Sqrt(latent))
		for j, b := range s.basis[l*s.dim : (l+1)*s.dim] {
			dst[j] += z * b
		}
	}
	s.disturb(dst, 0.1)
	return unit(dst)
}

// queries returns n rows behind those that are inserted.
func (s *rowSource) queries(behind, n int) ([][]float32, error) {
	queries := make([][]float32, n)
	for i := range queries {
		// The noise of those that are rows of the file again differs from that of any row that is inserted.
		q, err := s.row(behind+i*7, nil)
		if err != nil {
			return nil, err
		}
		queries[i] = q
	}
	return queries, nil
}

// runRows are the rows and the queries of a run that can do without files.
type runRows struct {
	file    *npy.Reader
	src     *rowSource
	queries [][]float32
}

// maxDim is the largest number of components.
const maxDim = event.MaxDimension

// generatedQueries is how many queries there are where no file has them.
const generatedQueries = 1000

// openRows opens the files of a run of n rows. Without a base rows are generated; without queries they are rows behind
// the n that are inserted.
func openRows(base, queries, dir string, dim, n int) (in *runRows, err error) {
	in = &runRows{}
	if base != "" {
		if in.file, err = openVectors(base, dir); err != nil {
			return nil, err
		}
	}
	in.src = newRowSource(in.file, dim)
	if queries != "" {
		in.queries, err = readQueries(queries, dir, in.src.dim)
	} else {
		in.queries, err = in.src.queries(n, generatedQueries)
	}
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

func (in *runRows) close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}
