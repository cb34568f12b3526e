package metrics

import (
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ratioOf returns the ratio of a space; NaN where there is none.
func ratioOf(t *testing.T, reg prometheus.Gatherer, space string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == nameAuditRatio && m.GetLabel()[0].GetValue() == space {
				return m.GetGauge().GetValue()
			}
		}
	}
	return math.NaN()
}

// The ratio is the mean of the latest audits, and there is none before the first one.
func TestAuditRatio(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	w, err := NewWorker(reg, 2)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg, nameAuditRatio); err != nil || n != 0 {
		t.Errorf("%d ratios before the first audit, %v", n, err)
	}
	w.Audited("a", 1)
	w.Audited("a", .5)
	if got := ratioOf(t, reg, "a"); got != .75 {
		t.Errorf("the ratio is %v, want 0.75", got)
	}
	for range auditWindow {
		w.Audited("a", .25)
	}
	if got := ratioOf(t, reg, "a"); got != .25 {
		t.Errorf("the ratio is %v with what is older than the window, want 0.25", got)
	}
	// Spaces beyond the bound share a series.
	w.Audited("b", 1)
	w.Audited("c", 0)
	w.Audited("d", 1)
	if got := ratioOf(t, reg, Other); got != .5 || !math.IsNaN(ratioOf(t, reg, "c")) {
		t.Errorf("the ratio of the others is %v, want 0.5", got)
	}
	w.AuditDropped(AuditGone)
	const want = `
# HELP engram_recall_audit_dropped_total Recalls that were to be compared with an exact answer and could not be, by reason.
# TYPE engram_recall_audit_dropped_total counter
engram_recall_audit_dropped_total{reason="failed"} 0
engram_recall_audit_dropped_total{reason="gone"} 1
# HELP engram_recall_audit_queries_total Recalls that were answered again exactly and compared, by space.
# TYPE engram_recall_audit_queries_total counter
engram_recall_audit_queries_total{memory_space="a"} 102
engram_recall_audit_queries_total{memory_space="b"} 1
engram_recall_audit_queries_total{memory_space="other"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), nameAuditQueries, nameAuditDropped); err != nil {
		t.Error(err)
	}
}

func TestAuditsConcurrently(t *testing.T) {
	reg := prometheus.NewRegistry()
	w, err := NewWorker(reg, 1)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for range 300 {
				w.Audited("a", .5)
			}
		})
	}
	done.Wait()
	if got := ratioOf(t, reg, "a"); got != .5 {
		t.Errorf("the ratio is %v, want 0.5", got)
	}
}
