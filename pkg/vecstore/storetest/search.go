package storetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

var metrics = map[string]vecstore.Metric{"cosine": vecstore.Cosine, "dot": vecstore.Dot, "l2": vecstore.L2}

// fill defines a space and gives it rows 0..n-1, named by their number.
func (h *harness) fill(name string, dim, n int, metric vecstore.Metric) {
	h.t.Helper()
	events := []*vecstore.Event{h.define(name, uint32(dim), metric, 1)}
	for i := range n {
		events = append(events, h.observe(name, fmt.Sprint(i), h.vector(dim)))
	}
	h.take(events...)
}

func testSearch(t *testing.T, f Factory) {
	for name, metric := range metrics {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, f)
			const dim = 24
			h.fill("s", dim, f.Rows, metric)
			replaced := make([]*vecstore.Event, 0, f.Rows/10)
			for i := range f.Rows / 10 {
				replaced = append(replaced, h.observe("s", fmt.Sprint(i*7%f.Rows), h.vector(dim)))
			}
			h.take(replaced...)
			h.take(h.forget("s", "3", "5", "8"))
			for range 2 {
				var sum tally
				for _, k := range []int{1, 2, 10, 100, 1000} {
					for range 3 {
						h.search(&sum, "s", h.vector(dim), k, math.Inf(-1))
					}
				}
				h.checkRecall(sum)
				h.reopen()
			}
		})
	}
}

func testSearchByID(t *testing.T, f Factory) {
	for name, metric := range metrics {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, f)
			h.fill("s", 8, 300, metric)
			twin := h.model.spaces["s"].rows["7"].vector
			h.take(h.observe("s", "twin", twin))
			for range 2 {
				var sum tally
				for _, id := range []string{"0", "7", "twin", "299"} {
					for _, k := range []int{1, 10, 300, 1000} {
						res, err := h.shard.Search("s", vecstore.Query{ID: id, K: k, MinScore: float32(math.Inf(-1)), Now: h.now})
						if err != nil {
							t.Fatal(err)
						}
						h.checkHits(&sum, "s", h.model.spaces["s"].rows[id].vector, k, math.Inf(-1), id, res)
					}
				}
				h.checkRecall(sum)
				h.reopen()
			}
		})
	}
}

// testMinScore asks for scores between two neighbours in the true order, so that rounding decides nothing.
func testMinScore(t *testing.T, f Factory) {
	for name, metric := range metrics {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, f)
			h.fill("s", 8, 60, metric)
			var sum tally
			query := h.vector(8)
			scores := h.model.spaces["s"].nearest(query, everything, math.Inf(-1), h.now.UnixNano(), nobody)
			for n := 1; n < len(scores); n++ {
				minScore := (scores[n-1] + scores[n]) / 2
				if scores[n-1]-minScore < tolerance(minScore) {
					continue
				}
				h.search(&sum, "s", query, 1000, float64(float32(minScore)))
				h.search(&sum, "s", query, 5, float64(float32(minScore)))
			}
			if sum.wanted < 1000 {
				t.Fatalf("only %d hits were asked for", sum.wanted)
			}
			h.checkRecall(sum)
			if res := h.search(&sum, "s", query, 10, scores[0]+1); len(res.Rows) != 0 {
				t.Fatalf("%d hits above the best score", len(res.Rows))
			}
		})
	}
}

func testExpiry(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.take(h.define("s", 4, vecstore.L2, 1))
	start := h.now
	for i := range 20 {
		e := h.observe("s", fmt.Sprint(i), h.vector(4))
		if i > 0 {
			e.ExpiresAt = start.Add(time.Duration(i) * time.Second).UnixNano()
		}
		h.take(e)
	}
	for _, reopen := range []bool{false, true} {
		if reopen {
			h.reopen()
		}
		for i := range 20 {
			// A nanosecond before row i expires, and when it does.
			for _, at := range []time.Duration{-1, 0} {
				h.now = start.Add(time.Duration(i)*time.Second + at)
				h.check()
			}
			if i == 0 {
				continue
			}
			if _, err := h.shard.Search("s", vecstore.Query{ID: fmt.Sprint(i), K: 3, Now: h.now}); err == nil {
				t.Fatalf("an expired observation was found by its id")
			}
		}
	}
	// An expired one is replaced like any other.
	h.take(h.observe("s", "4", h.vector(4)))
	h.settle()
}

// testIsolation gives many spaces the same ids and the same vectors.
func testIsolation(t *testing.T, f Factory) {
	h := newHarness(t, f)
	const spaces, rows = 40, 12
	var vectors [rows][]float32
	for i := range vectors {
		vectors[i] = h.vector(6)
	}
	var events []*vecstore.Event
	for s := range spaces {
		events = append(events, h.define(fmt.Sprint("space-", s), 6, vecstore.Cosine, 1))
	}
	for i, v := range vectors {
		for s := range spaces {
			events = append(events, h.observe(fmt.Sprint("space-", s), fmt.Sprint(i), v))
		}
	}
	h.take(events...)
	// What happens to one space happens to no other.
	h.take(h.forget("space-3", "0", "1"), h.drop("space-4", 1), h.observe("space-5", "2", h.vector(6)), h.observe("space-6", "new", h.vector(6)))
	for s := range spaces {
		name := fmt.Sprint("space-", s)
		if s == 4 {
			continue
		}
		var sum tally
		for i := range vectors {
			h.search(&sum, name, vectors[i], rows+5, math.Inf(-1)) // checkHits compares the bodies, which name the space
		}
		h.checkRecall(sum)
	}
	h.settle()
}
