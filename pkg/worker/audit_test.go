package worker

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// measured returns the value of a metric with one label; NaN where it is not there.
func measured(t *testing.T, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return math.NaN()
}

// audited recalls until n more audits of space "a" are done, and returns its ratio.
func (c *tested) audited(t *testing.T, n int, recall func(i int)) float64 {
	t.Helper()
	count := func() float64 {
		if n := measured(t, c.registry, "engram_recall_audit_queries_total", "a"); !math.IsNaN(n) {
			return n
		}
		return 0
	}
	before, i := count(), 0
	until(t, fmt.Sprintf("%d recalls are audited", n), func() bool {
		recall(i)
		i++
		return count() >= before+float64(n)
	})
	return measured(t, c.registry, "engram_recall_audit_recall_ratio", "a")
}

// around asks for the ten nearest ones of a direction.
func (w *world) around(i int) {
	w.t.Helper()
	w.recall(&api.RecallRequest{Space: "a", Embedding: embedding(direction(i % 300)...), K: proto.Uint32(10)})
}

// oftenAudited makes a worker audit as much as it can.
func oftenAudited(o *Options) { o.Config.Index.AuditRate, o.Config.Index.AuditShare = 100_000, 1 }

// The gauge says what recalls found: all of it where the answers are good, and less as soon as they are not.
func TestAuditMeasuresRecall(t *testing.T) {
	w := newWorld(t)
	c := w.start(oftenAudited)
	c.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 300)...)...))
	if got := measured(t, c.registry, "engram_recall_audit_recall_ratio", "a"); !math.IsNaN(got) {
		t.Errorf("the ratio is %v before anything was asked", got)
	}
	if got := c.audited(t, 30, w.around); got != 1 {
		t.Errorf("the ratio of exact answers is %v", got)
	}
	// From now on a recall loses the four best of ten, and finds the four behind them.
	c.search = func(store *vecstore.Shard, space string, q vecstore.Query) (vecstore.Result, error) {
		q.K += 4
		res, err := store.Search(space, q)
		res.Rows, res.Exact = res.Rows[min(4, len(res.Rows)):], false
		return res, err
	}
	if got := c.audited(t, 30, w.around); got >= .9 || got <= .6 {
		t.Errorf("the ratio is %v with bad answers after good ones, want it between 0.6 and 0.9", got)
	}
	// Both neighbours at a distance may have the same score, and then either may be in the last place.
	if got := c.audited(t, 105, w.around); got < .6-1e-9 || got > .7 {
		t.Errorf("the ratio is %v with nothing but bad answers, want 0.6 to 0.7", got)
	}
	if got := measured(t, c.registry, "engram_recall_audit_dropped_total", metrics.AuditFailed); got != 0 {
		t.Errorf("%v audits failed", got)
	}
}

// While observations replace each other at full speed, what the audit cannot know of is not held against recall.
func TestAuditIsFairUnderLoad(t *testing.T) {
	w := newWorld(t)
	c := w.start(oftenAudited)
	events := append([]*api.LogEvent{define("a", 3), define("b", 3)}, several(0, 300)...)
	c.reach(t, w.publish(events...))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan uint64)
	go func() {
		var last uint64
		defer func() { done <- last }()
		for ctx.Err() == nil {
			var events []*api.LogEvent
			for i := range 300 {
				e := observe("a", fmt.Sprint(i), direction((i*7)%300)...)
				if i%3 == 0 {
					e.GetObserve().Priority = api.Priority_PRIORITY_HIGH
				}
				events = append(events, e, observe("b", fmt.Sprint(i), 1, 0, 0))
			}
			last = w.publish(events...)
		}
	}()
	got := c.audited(t, 80, w.around)
	cancel()
	c.reach(t, <-done)
	if got < .995 {
		t.Errorf("the ratio of exact answers is %v under load", got)
	}
}

// A graph that is searched with too short a list of candidates is seen to be.
func TestAuditOfAGraph(t *testing.T) {
	const dim, rows = 32, 2500
	w := newWorld(t)
	c := w.start(func(o *Options) {
		oftenAudited(o)
		o.Config.Index.GraphRows = 512
	})
	random := rand.New(rand.NewPCG(1, 2))
	vector := func() []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return v
	}
	defined := define("a", dim)
	defined.GetDefine().Engine = "hnsw"
	last := w.publish(defined)
	for range rows / 500 {
		var events []*api.LogEvent
		for range 500 {
			events = append(events, observe("a", fmt.Sprint(random.Uint64()), vector()...))
		}
		last = w.publish(events...)
	}
	c.reach(t, last)
	until(t, "most rows are in the graph", func() bool {
		st, ok := c.shard().store.Load().Stats("a")
		return ok && st.Graph > rows/2
	})
	linked := new(dto.Metric)
	if err := c.Metrics.HNSWInsert.Write(linked); err != nil || linked.GetHistogram().GetSampleCount() == 0 {
		t.Errorf("blocks were linked, and the metric of that says %v, %v", linked, err)
	}
	ratio := func(audits int, ef uint32) float64 {
		return c.audited(t, audits, func(int) {
			resp := w.recall(&api.RecallRequest{Space: "a", Embedding: embedding(vector()...), K: proto.Uint32(1), Ef: &ef})
			if resp.GetExact() || resp.GetSearched() == 0 {
				t.Fatalf("the answer says exact %t, searched %d", resp.GetExact(), resp.GetSearched())
			}
		})
	}
	if good, mixed := ratio(40, 400), ratio(60, 1); good < .9 || mixed > good-.1 {
		t.Errorf("the ratio is %.2f with a long list, and %.2f as soon as more were searched with a short one", good, mixed)
	}
}

func newTestAuditor(t *testing.T, cfg IndexConfig) (*auditor, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := metrics.NewWorker(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	return newAuditor(cfg, m), reg
}

// Whoever answers a recall never waits for the audit; what comes when nothing can be taken is let go.
func TestOffersDoNotWait(t *testing.T) {
	store := storeWith(t, "a", 3)
	q := vecstore.Query{Vector: []float32{1, 0, 0}, K: 1}
	a, _ := newTestAuditor(t, IndexConfig{AuditRate: 1e6, AuditShare: 1})
	until(t, "the places are taken", func() bool {
		a.offer(store, "a", q, 1, nil)
		return len(a.samples) == maxSamples
	})
	for range 100 {
		a.offer(store, "a", q, 1, nil)
	}
	seldom, _ := newTestAuditor(t, IndexConfig{AuditRate: 1e-6, AuditShare: 1})
	never, _ := newTestAuditor(t, IndexConfig{AuditShare: 1})
	other, _ := newTestAuditor(t, IndexConfig{AuditRate: 1e6, AuditShare: 1})
	for range 100 {
		seldom.offer(store, "a", q, 1, nil)
		never.offer(store, "a", q, 1, nil)
		for _, no := range []vecstore.Query{{ID: "x", K: 1}, {Vector: q.Vector, K: 1, Effort: vecstore.EffortExact}} {
			other.offer(store, "a", no, 1, nil)
		}
		other.offer(store, "a", q, 0, nil)
	}
	if len(seldom.samples) != 1 || len(never.samples) != 0 || len(other.samples) != 0 {
		t.Errorf("%d are taken at a low rate, %d at none, and %d of those that cannot be audited", len(seldom.samples), len(never.samples), len(other.samples))
	}
}

// The audit takes its share of a core, however much is asked.
func TestAuditIsPaced(t *testing.T) {
	store := storeWith(t, "a", 3)
	const share, each, over = .05, 20 * time.Millisecond, 10 * time.Second
	a, reg := newTestAuditor(t, IndexConfig{AuditRate: 1e6, AuditShare: share})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), over)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.run(ctx, func(*vecstore.Shard, string, vecstore.Query) (vecstore.Result, error) {
				time.Sleep(each)
				return vecstore.Result{Rows: []vecstore.Row{{ID: "x", Sequence: 1}}, Exact: true}, nil
			})
		}()
		for ctx.Err() == nil {
			a.offer(store, "a", vecstore.Query{Vector: []float32{1, 0, 0}, K: 1}, 1, []vecstore.Row{{ID: "x", Sequence: 1}})
			time.Sleep(time.Millisecond)
		}
		<-ended
	})
	want := share * float64(over) / float64(each)
	if got := measured(t, reg, "engram_recall_audit_queries_total", "a"); got < want-1 || got > want+1 {
		t.Errorf("%v audits of %v in %v, want %v", got, each, over, want)
	}
}

// Samples that cannot be compared any more are counted, by the reason.
func TestAuditsThatCannotBe(t *testing.T) {
	store := storeWith(t, "a", 3)
	a, reg := newTestAuditor(t, IndexConfig{AuditRate: 1, AuditShare: 1})
	for _, tc := range []struct {
		res    vecstore.Result
		err    error
		reason string
	}{
		{err: vecstore.ErrGone, reason: metrics.AuditGone},
		{err: fmt.Errorf("%w %q", vecstore.ErrUnknownSpace, "a"), reason: metrics.AuditGone},
		{err: vecstore.ErrClosed, reason: metrics.AuditGone},
		{err: vecstore.ErrCorrupt, reason: metrics.AuditFailed},
		{res: vecstore.Result{Exact: false}, reason: metrics.AuditFailed},
	} {
		before := measured(t, reg, "engram_recall_audit_dropped_total", tc.reason)
		s := &sample{store: store, space: "a", query: vecstore.Query{K: 1, AsOf: 1}}
		a.audit(s, func(*vecstore.Shard, string, vecstore.Query) (vecstore.Result, error) { return tc.res, tc.err })
		if got := measured(t, reg, "engram_recall_audit_dropped_total", tc.reason); got != before+1 {
			t.Errorf("%v is not counted as %s", tc.err, tc.reason)
		}
	}
	if got := measured(t, reg, "engram_recall_audit_recall_ratio", "a"); !math.IsNaN(got) {
		t.Errorf("the ratio is %v, of nothing", got)
	}
}

// storeOf has observations of space "a", dot of dimension 1, at sequences from 2.
func storeOf(t *testing.T, ids ...string) *vecstore.Shard {
	t.Helper()
	store := storeWith(t, "a", 3)
	var events []*vecstore.Event
	for i, id := range ids {
		e := &vecstore.Event{Kind: vecstore.KindObserve, Space: "a", Sequence: uint64(i) + 2, ID: id, Vector: event.AppendF32(nil, []float32{1, 0, 0})}
		if err := store.Appender().Add(e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if err := store.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Apply(events, 1); err != nil || n != len(events) {
		t.Fatalf("%d of %d were applied: %v", n, len(events), err)
	}
	return store
}

// The comparison, where the answer had less, more, and other things than the position says.
func TestCompare(t *testing.T) {
	// At sequences 2 to 6; "d" and "e" once more, behind the position 6.
	store := storeOf(t, "a", "b", "c", "d", "e", "d", "e")
	row := func(id string, sequence uint64, score float32) vecstore.Row {
		return vecstore.Row{ID: id, Sequence: sequence, Score: score}
	}
	truth := []vecstore.Row{row("a", 2, 5), row("b", 3, 4), row("c", 4, 3), row("d", 5, 2)}
	for name, tc := range map[string]struct {
		hits  []hit
		k     int
		seen  uint64
		ratio float64
		none  bool
	}{
		"all":                  {[]hit{{"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}, {"d", 5, 2}}, 4, 6, 1, false},
		"one is missing":       {[]hit{{"a", 2, 5}, {"c", 4, 3}, {"d", 5, 2}, {"e", 6, 1}}, 4, 6, .75, false},
		"nothing":              {nil, 4, 6, 0, false},
		"a tie in last place":  {[]hit{{"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}, {"e", 6, 2}}, 4, 6, 1, false},
		"ties count once":      {[]hit{{"e", 6, 2}, {"x", 6, 2}, {"y", 6, 2}, {"z", 6, 2}, {"w", 6, 2}}, 4, 6, 1, false},
		"a newer one took it":  {[]hit{{"new", 7, 9}, {"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}}, 4, 8, 1, false},
		"newer, and a miss":    {[]hit{{"new", 7, 9}, {"a", 2, 5}, {"c", 4, 3}, {"d", 5, 2}}, 4, 6, 2. / 3, false},
		"its newer version":    {[]hit{{"d", 7, 9}, {"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}}, 4, 8, 1, false},
		"replaced since":       {[]hit{{"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}}, 4, 8, 1, false},
		"replaced much later":  {[]hit{{"a", 2, 5}, {"b", 3, 4}, {"c", 4, 3}}, 4, 6, .75, false},
		"nothing but newer":    {[]hit{{"new", 7, 9}}, 1, 8, 0, true},
		"fewer than asked for": {[]hit{{"a", 2, 5}, {"b", 3, 4}}, 10, 6, .5, false},
	} {
		s := &sample{store: store, space: "a", query: vecstore.Query{K: tc.k, AsOf: 6, Now: time.Now()}, hits: tc.hits, seen: tc.seen}
		ratio, ok, err := s.compare(slices.Clone(truth[:min(tc.k, len(truth))]))
		if err != nil || ok == tc.none || math.Abs(ratio-tc.ratio) > 1e-9 {
			t.Errorf("%s: %v, %t, %v; want %v", name, ratio, ok, err, tc.ratio)
		}
	}
}
