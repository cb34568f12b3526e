package metrics

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// series lists the labelled names of all that the registry has, sorted, with the
// type: "counter name{label=value,…}".
func series(t *testing.T, reg prometheus.Gatherer) []string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all = append(all, fmt.Sprintf("%s %s{%s}", strings.ToLower(family.GetType().String()), family.GetName(), strings.Join(labels, ",")))
		}
	}
	slices.Sort(all)
	return all
}

// The names are an interface: dashboards and alerts are written against them.
func TestNamesLabelsAndTypes(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	gateway, err := NewGateway(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := NewWorker(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecall(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := NewJetStreamCollector(reg, time.Second); err != nil {
		t.Fatal(err)
	}
	gateway.Space("demo").Rejected("too_large").Inc()
	gateway.Shard(3).Normal.Inc()
	worker.Utilization(0).Set(.5)
	worker.Shard(3).Lag.Set(1)
	worker.Quarantined("not_finite").Inc()
	worker.Audited("demo", 1)
	worker.Snapshot(3, 17, time.Now())
	want := []string{
		"counter engram_jetstream_poll_failures_total{}",
		"counter engram_recall_audit_dropped_total{reason=failed}",
		"counter engram_recall_audit_dropped_total{reason=gone}",
		"counter engram_recall_audit_queries_total{memory_space=demo}",
		"counter engram_recall_audit_queries_total{memory_space=other}",
		"counter engram_snapshot_failures_total{}",
		"counter engram_snapshot_stored_bytes_total{}",
		"counter engram_streaming_backpressure_activations_total{level=high,shard=3}",
		"counter engram_streaming_backpressure_activations_total{level=normal,shard=3}",
		"counter engram_streaming_observations_rejected_total{memory_space=demo,reason=other}",
		"counter engram_streaming_observations_rejected_total{memory_space=demo,reason=too_large}",
		"counter engram_streaming_observations_rejected_total{memory_space=other,reason=other}",
		"counter engram_streaming_observations_total{memory_space=demo,priority=high}",
		"counter engram_streaming_observations_total{memory_space=demo,priority=normal}",
		"counter engram_streaming_observations_total{memory_space=other,priority=high}",
		"counter engram_streaming_observations_total{memory_space=other,priority=normal}",
		"counter engram_streaming_quarantined_total{reason=not_finite}",
		"counter engram_streaming_quarantined_total{reason=other}",
		"counter engram_streaming_work_stolen_total{}",
		"counter engram_streaming_worker_panics_total{}",
		"gauge engram_recall_audit_recall_ratio{memory_space=demo}",
		"gauge engram_snapshot_last_success_timestamp_seconds{shard=3}",
		"gauge engram_snapshot_position{shard=3}",
		"gauge engram_streaming_backpressure_state{shard=3}",
		"gauge engram_streaming_consumer_lag{shard=3}",
		"gauge engram_streaming_queue_depth{priority=high}",
		"gauge engram_streaming_queue_depth{priority=normal}",
		"gauge engram_streaming_queue_memory_bytes{part=gateway}",
		"gauge engram_streaming_queue_memory_bytes{part=worker}",
		"gauge engram_streaming_shard_serving{shard=3}",
		"gauge engram_streaming_staleness_seconds{shard=3}",
		"gauge engram_streaming_worker_utilization_ratio{worker_id=0}",
		"histogram engram_hnsw_insert_duration_seconds{}",
		"histogram engram_recall_audit_seconds{}",
		"histogram engram_streaming_batch_size{}",
		"histogram engram_streaming_observation_latency_seconds{}",
		"histogram engram_streaming_recall_latency_seconds{}",
	}
	if d := cmp.Diff(want, series(t, reg)); d != "" {
		t.Errorf("wrong series (-want +got):\n%s", d)
	}
}

func TestLatencyBuckets(t *testing.T) {
	reg := prometheus.NewRegistry()
	worker, err := NewWorker(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	worker.ObservationLatency.Observe(.03)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == nameLatency })
	var bounds []float64
	for _, bucket := range families[i].Metric[0].Histogram.Bucket {
		bounds = append(bounds, bucket.GetUpperBound())
	}
	want := []float64{.001, .005, .01, .02, .05, .1, .2, .5, 1, 5}
	if d := cmp.Diff(want, bounds); d != "" {
		t.Errorf("wrong buckets (-want +got):\n%s", d)
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	for name, register := range map[string]func(prometheus.Registerer) error{
		"gateway":   func(r prometheus.Registerer) error { _, err := NewGateway(r, 1); return err },
		"worker":    func(r prometheus.Registerer) error { _, err := NewWorker(r, 1); return err },
		"recall":    func(r prometheus.Registerer) error { _, err := NewRecall(r); return err },
		"JetStream": func(r prometheus.Registerer) error { _, err := NewJetStreamCollector(r, time.Second); return err },
	} {
		reg := NewRegistry()
		if err := register(reg); err != nil {
			t.Fatal(err)
		}
		if err := register(reg); err == nil || !strings.Contains(err.Error(), "registering the metrics of the "+name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// A clash half way must not leave metrics behind that nobody owns.
func TestRefusalLeavesNothing(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounterVec(counterOpts(nameRejected, "taken"), []string{"x"}))
	if _, err := NewGateway(reg, 1); err == nil {
		t.Fatal("no error")
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
		t.Errorf("%d series are left, with %v", n, err)
	}
	again := prometheus.NewCounterVec(counterOpts(nameObservations, helpObservations), []string{labelSpace, labelPriority})
	if err := reg.Register(again); err != nil {
		t.Errorf("%s is still registered: %v", nameObservations, err)
	}
}

func TestSpacesAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	gateway, err := NewGateway(reg, 2)
	if err != nil {
		t.Fatal(err)
	}
	gateway.Space("alpha").Normal.Add(2)
	for _, space := range []string{"other", "beta", "gamma", "delta", "gamma"} {
		gateway.Space(space).Normal.Inc()
	}
	gateway.Space("alpha").High.Inc()
	gateway.Space("gamma").Rejected("backpressure").Add(3)
	want := `
# HELP engram_streaming_observations_total Observations that were committed to the log, by space and priority.
# TYPE engram_streaming_observations_total counter
engram_streaming_observations_total{memory_space="alpha",priority="high"} 1
engram_streaming_observations_total{memory_space="alpha",priority="normal"} 2
engram_streaming_observations_total{memory_space="beta",priority="high"} 0
engram_streaming_observations_total{memory_space="beta",priority="normal"} 1
engram_streaming_observations_total{memory_space="other",priority="high"} 0
engram_streaming_observations_total{memory_space="other",priority="normal"} 4
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), nameObservations); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(gateway.Space("delta").Rejected("backpressure")); got != 3 {
		t.Errorf("%v refusals are counted under other, want 3", got)
	}
}

func TestBoundedLabelConcurrently(t *testing.T) {
	const bound, values, goroutines = 50, 200, 4
	var mu sync.Mutex
	made := map[string]int{}
	label := NewBoundedLabel(bound, func(value string) string {
		mu.Lock()
		defer mu.Unlock()
		made[value]++
		return value
	})
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := range values {
				value := fmt.Sprintf("space-%d", i)
				if h := label.Get(value); h != value && h != Other {
					t.Errorf("%s has the handle of %s", value, h)
				} else if again := label.Get(value); again != h {
					t.Errorf("%s had the handle of %s, and has that of %s now", value, h, again)
				}
			}
		})
	}
	wg.Wait()
	if len(made) != bound+1 || made[Other] != 1 {
		t.Errorf("%d handles were made, want %d and one for other: %v", len(made), bound, made)
	}
	for value, n := range made {
		if n != 1 {
			t.Errorf("%d handles were made for %s", n, value)
		}
	}
}

// Between the look-up in Get and the lock, another goroutine may take the last place.
func TestLastPlaceIsTakenMeanwhile(t *testing.T) {
	label := NewBoundedLabel(1, func(value string) string { return value })
	label.Get("first")
	if got := label.add("second"); got != Other {
		t.Errorf("the handle of second is %s, want %s", got, Other)
	}
	if got := label.add("first"); got != "first" {
		t.Errorf("the handle of first is %s", got)
	}
}

// A caller's string may be a view of a buffer that is used again.
func TestLabelKeepsACopy(t *testing.T) {
	buffer := []byte("alpha")
	label := NewBoundedLabel(1, func(value string) string { return value })
	label.Get(unsafe.String(&buffer[0], len(buffer)))
	copy(buffer, "omega")
	if got := label.Get("alpha"); got != "alpha" {
		t.Errorf("the handle of alpha is %s after its buffer was used again", got)
	}
}

func TestNoRoomAtAll(t *testing.T) {
	for _, bound := range []int{0, -1} {
		label := NewBoundedLabel(bound, func(value string) string { return value })
		if got := label.Get("a"); got != Other {
			t.Errorf("bound %d: the handle of a is %s, want %s", bound, got, Other)
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	reg := prometheus.NewRegistry()
	gateway, err := NewGateway(reg, 1)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := NewWorker(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	gateway.Space("known").Rejected("known")
	worker.Quarantined("known")
	for name, f := range map[string]func(){
		"known space":  func() { gateway.Space("known").Normal.Add(10) },
		"other space":  func() { gateway.Space("unknown").High.Inc() },
		"known reason": func() { gateway.Space("known").Rejected("known").Inc() },
		"quarantined":  func() { worker.Quarantined("known").Inc() },
		"latency":      func() { worker.ObservationLatency.Observe(.01) },
		"audit":        func() { worker.Audited("known", 1) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestDroppedShardHasNoSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	worker, err := NewWorker(reg, 10)
	if err != nil {
		t.Fatal(err)
	}
	worker.Shard(1).Lag.Set(5)
	worker.Shard(2).Staleness.Set(.5)
	worker.DropShard(1)
	for _, line := range series(t, reg) {
		if strings.Contains(line, "shard=1") {
			t.Errorf("%s is left", line)
		}
	}
	if got := testutil.ToFloat64(worker.Shard(2).Staleness); got != .5 {
		t.Errorf("the staleness of shard 2 is %v, want 0.5", got)
	}
}

func BenchmarkSpace(b *testing.B) {
	gateway, err := NewGateway(prometheus.NewRegistry(), 1000)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		gateway.Space(fmt.Sprintf("space-%d", i))
	}
	for name, space := range map[string]string{"known": "space-500", "other": "unknown"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				gateway.Space(space).Normal.Inc()
			}
		})
	}
}

func BenchmarkObserveLatency(b *testing.B) {
	worker, err := NewWorker(prometheus.NewRegistry(), 1)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		worker.ObservationLatency.Observe(.013)
	}
}
