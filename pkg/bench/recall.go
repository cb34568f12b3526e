package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/wire"
)

// queries gives query vectors: rows of a file, or of the source with noise.
type queries struct {
	file *npy.File
	src  *source
	n    int
}

func openQueries(cfg *Config, src *source) (*queries, error) {
	q := &queries{src: src, n: cfg.Observations}
	if cfg.Queries != "" {
		f, err := npy.Open(cfg.Queries)
		if err != nil {
			return nil, err
		}
		// Now, and not after the load, which takes long.
		if f.Rows() == 0 || f.Cols() != src.dim {
			err := fmt.Errorf("%s has %d rows of %d components, and what is observed has %d; name a file of queries for those", cfg.Queries, f.Rows(), f.Cols(), src.dim)
			return nil, errors.Join(err, f.Close())
		}
		q.file = f
	}
	return q, nil
}

func (q *queries) close() error {
	if q.file == nil {
		return nil
	}
	return q.file.Close()
}

func (q *queries) vector(r *rand.Rand) ([]float32, error) {
	if q.file != nil {
		return q.file.Row(r.IntN(q.file.Rows()), nil)
	}
	v, err := q.src.vector(r.IntN(q.n), nil)
	for i := range v {
		v[i] += float32(r.NormFloat64()) * 0.1 * norm(v) / float32(math.Sqrt(float64(len(v))))
	}
	return v, err
}

func norm(v []float32) float32 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return float32(math.Sqrt(sum))
}

func recallRequest(v []float32) *api.RecallRequest {
	return &api.RecallRequest{
		Embedding: &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}, Include: []string{"none"},
	}
}

// recaller asks at a steady rate, whether the answers are late or not, and takes each latency from when the recall was
// due, so that one that waits behind another shows it.
type recaller struct {
	mu     sync.Mutex
	ms     []float64
	errors int
}

func (r *recaller) run(ctx context.Context, c *client.Client, q *queries, cfg *Config) error {
	if cfg.RecallRate <= 0 {
		return nil
	}
	rnd := rand.New(rand.NewPCG(cfg.Seed, 3))
	every := time.Duration(float64(time.Second) / cfg.RecallRate)
	var asked sync.WaitGroup
	defer asked.Wait()
	due := time.Now()
	for {
		due = due.Add(every)
		t := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		v, err := q.vector(rnd)
		if err != nil {
			return err
		}
		space, at := spaceName(q.src.space(rnd.IntN(cfg.Observations))), due
		asked.Go(func() { r.ask(ctx, c, space, v, at) })
	}
}

func (r *recaller) ask(ctx context.Context, c *client.Client, space string, v []float32, due time.Time) {
	_, err := c.Recall(context.WithoutCancel(ctx), space, recallRequest(v))
	took := time.Since(due)
	if err != nil && wire.AsError(err).Code == wire.CodeUnknownSpace {
		return // before the first observation of the space
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errors++
		return
	}
	r.ms = append(r.ms, float64(took)/1e6)
}

// quantile returns the q-th quantile of sorted values, by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(math.Ceil(q*float64(len(sorted))))-1, len(sorted)-1)]
}

// percentilesOf returns the percentiles of values in any order.
func percentilesOf(v []float64) Percentiles {
	s := sorted(v)
	return Percentiles{quantile(s, .5), quantile(s, .99), quantile(s, .999)}
}

func sorted(v []float64) []float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v
}
