package storetest

import (
	"math"
	"slices"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// everything is a K above the number of rows of any test.
const everything = 1 << 20

// settle checks the shard as it is, after a clean close, and after the death of the process, and of the machine.
func (h *harness) settle() {
	h.t.Helper()
	h.check()
	h.reopen()
	h.check()
	h.kill()
	h.check()
	if h.mem != nil {
		h.checkpoint()
		h.losePower()
		h.check()
	}
}

// check compares everything that the shard says with the model.
func (h *harness) check() {
	h.t.Helper()
	var names []string
	for _, st := range h.shard.AllStats() {
		names = append(names, st.Definition.Name)
	}
	if !slices.IsSorted(names) || len(names) != len(h.model.spaces) {
		h.t.Fatalf("the shard has the spaces %q, the model has %d", names, len(h.model.spaces))
	}
	tally := tally{}
	for name, sp := range h.model.spaces {
		if def, ok := h.shard.Definition(name); !ok || def != sp.def {
			h.t.Fatalf("Definition(%q) = %+v, %t; want %+v", name, def, ok, sp.def)
		}
		st, ok := h.shard.StatsAt(name, h.now)
		if living := len(sp.visible(h.now.UnixNano())); !ok || st.Definition != sp.def || st.Observations != uint64(living) {
			h.t.Fatalf("StatsAt(%q) = %+v, %t; want %d observations", name, st, ok, living)
		}
		if st.Tail+st.Graph != st.Observations+st.Dead {
			h.t.Fatalf("Stats(%q) = %+v: the tiers do not hold the rows", name, st)
		}
		h.checkRows(name, sp)
		h.search(&tally, name, h.vector(int(sp.def.Dimension)), 3, math.Inf(-1))
		h.search(&tally, name, h.vector(int(sp.def.Dimension)), everything, math.Inf(-1))
	}
	h.checkRecall(tally)
}

// checkRows compares List and Get with the model.
func (h *harness) checkRows(name string, sp *modelSpace) {
	h.t.Helper()
	want := sp.visible(h.now.UnixNano())
	rows, more, err := h.shard.List(name, 0, everything, vecstore.At{Now: h.now})
	if err != nil || more || len(rows) != len(want) {
		h.t.Fatalf("List(%q) = %d rows, %t, %v; want %d", name, len(rows), more, err, len(want))
	}
	var ids []string
	for i, row := range rows {
		h.checkRow(name, row, want[i])
		ids = append(ids, row.ID)
	}
	got, err := h.shard.Get(name, ids, vecstore.At{Now: h.now})
	if err != nil || len(got) != len(want) {
		h.t.Fatalf("Get(%q) = %d rows, %v; want %d", name, len(got), err, len(want))
	}
	for i, row := range got {
		h.checkRow(name, row, want[i])
	}
}

func (h *harness) checkRow(name string, got vecstore.Row, want modelRow) {
	h.t.Helper()
	if got.ID != want.id || got.Sequence != want.sequence || string(got.Body) != want.body ||
		got.ExpiresAt != want.expires || !slices.Equal(unpack(got.Vector), want.vector) {
		h.t.Fatalf("space %q has %q at %d with body %q, want %q at %d with %q",
			name, got.ID, got.Sequence, got.Body, want.id, want.sequence, want.body)
	}
}

// tally counts the hits of searches that are as good as the true ones.
type tally struct{ found, wanted int }

func (h *harness) checkRecall(t tally) {
	h.t.Helper()
	if recall := float64(t.found) / float64(t.wanted); recall < h.f.RecallFloor {
		h.t.Fatalf("recall is %.4f (%d of %d), want at least %g", recall, t.found, t.wanted, h.f.RecallFloor)
	}
}

// search runs a query by vector and checks its answer.
func (h *harness) search(t *tally, name string, query []float32, k int, minScore float64) vecstore.Result {
	h.t.Helper()
	res, err := h.shard.Search(name, vecstore.Query{Vector: query, K: k, MinScore: float32(minScore), Now: h.now})
	if err != nil {
		h.t.Fatalf("Search of %q: %v", name, err)
	}
	h.checkHits(t, name, query, k, minScore, nobody, res)
	return res
}

// checkHits checks that an answer has nothing wrong, and adds to the tally what it has right.
func (h *harness) checkHits(t *tally, name string, query []float32, k int, minScore float64, except string, res vecstore.Result) {
	h.t.Helper()
	sp := h.model.spaces[name]
	best := sp.nearest(query, k, minScore, h.now.UnixNano(), except)
	if len(res.Rows) > len(best) || res.Exact && len(res.Rows) < len(best) {
		h.t.Fatalf("a search of %q for %d returned %d hits, want %d", name, k, len(res.Rows), len(best))
	}
	if res.Searched < len(res.Rows) {
		h.t.Fatalf("a search of %q returned %d hits and says that it searched %d rows", name, len(res.Rows), res.Searched)
	}
	seen := map[string]bool{}
	for i, row := range res.Rows {
		want, ok := sp.rows[row.ID]
		if !ok || seen[row.ID] || row.ID == except || !want.visible(h.now.UnixNano()) {
			h.t.Fatalf("a search of %q returned %q, which is not there, there twice, or not to be found", name, row.ID)
		}
		seen[row.ID] = true
		h.checkRow(name, row, want)
		score := scoreOf(sp.def.Metric, query, want.vector)
		if math.Abs(float64(row.Score)-score) > tolerance(score) {
			h.t.Fatalf("a search of %q gave %q the score %g, want %g", name, row.ID, row.Score, score)
		}
		if i > 0 && row.Score > res.Rows[i-1].Score {
			h.t.Fatalf("a search of %q returned a score of %g behind %g", name, row.Score, res.Rows[i-1].Score)
		}
		if float64(row.Score) < minScore {
			h.t.Fatalf("a search of %q with min_score %g returned %g", name, minScore, row.Score)
		}
		if last := best[len(best)-1]; score >= last-tolerance(last) {
			t.found++
		}
	}
	t.wanted += len(best)
}
