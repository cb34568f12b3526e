package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// A filter that is new is asked about every row. Who does not want to wait for that goes, those with another filter do not
// notice, and what was found out until the search ended is not asked again.
func TestNewFilterHoldsNobodyUp(t *testing.T) {
	const rows = 300
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem()})
	h := newHistory(81)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range rows {
		h.observe("s", fmt.Sprint(i), h.vector(4))
	}
	feed(t, s, h, h.last())
	search := func(ctx context.Context, f *vecstore.Filter) (int, error) {
		res, err := s.Search("s", vecstore.Query{Vector: make([]float32, 4), K: everything, MinScore: anyScore, Now: testNow, Filter: f, Context: ctx})
		return len(res.Rows), err
	}
	var asked atomic.Int64
	halfway, hold := make(chan struct{}), make(chan struct{})
	slow := &vecstore.Filter{Key: "slow", Match: func(*vecstore.Row) (bool, error) {
		if asked.Add(1) == rows/2 {
			close(halfway)
			<-hold
		}
		return true, nil
	}}
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	first, end := context.WithCancel(context.Background())
	var firstErr error
	var done sync.WaitGroup
	done.Go(func() { _, firstErr = search(first, slow) })
	<-halfway

	within(t, time.Minute, "a search with another filter", func() {
		other := &vecstore.Filter{Key: "other", Match: func(*vecstore.Row) (bool, error) { return true, nil }}
		if n, err := search(context.Background(), other); n != rows || err != nil {
			t.Errorf("%d hits, %v", n, err)
		}
	})
	within(t, time.Minute, "a search with the same filter that has ended", func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := search(ended, slow); !errors.Is(err, context.Canceled) {
			t.Errorf("a search that has ended: %v", err)
		}
	})
	end()
	release()
	done.Wait()
	if n := asked.Load(); !errors.Is(firstErr, context.Canceled) || n != rows/2 {
		t.Errorf("a search that ended on its way has asked about %d rows: %v", n, firstErr)
	}
	if n, err := search(context.Background(), slow); n != rows || err != nil {
		t.Errorf("%d hits, %v", n, err)
	}
	if n := asked.Load(); n != rows {
		t.Errorf("the filter was asked %d times about %d rows", n, rows)
	}
}
