package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// auditWindow is how many audits of a space its ratio is the mean of.
const auditWindow = 100

// Reasons why a sampled recall was not compared.
const (
	// AuditGone: what held at its position is not kept any more, or the space is not there.
	AuditGone = "gone"
	// AuditFailed: the exact answer could not be had.
	AuditFailed = "failed"
)

// audits measure how many of the true nearest observations recall finds.
type audits struct {
	seconds prometheus.Histogram
	spaces  *BoundedLabel[*auditedSpace]
	dropped *prometheus.CounterVec
}

// auditedSpace is the share of one space, or that of all beyond the bound. Its gauge comes with its first audit: a ratio
// of nothing would be an alarm.
type auditedSpace struct {
	queries prometheus.Counter
	gauge   func() prometheus.Gauge

	mu   sync.Mutex
	last [auditWindow]float64 // the latest ratios, a ring
	n    int                  // audits so far
}

// newAudits makes the metrics, and returns what is to be registered.
func newAudits(maxSpaces int) (*audits, []prometheus.Collector) {
	ratio := prometheus.NewGaugeVec(gaugeOpts(nameAuditRatio,
		"Share of the true nearest observations that recalls found, the mean of the latest audits of a space."), []string{labelSpace})
	queries := prometheus.NewCounterVec(counterOpts(nameAuditQueries,
		"Recalls that were answered again exactly and compared, by space."), []string{labelSpace})
	a := &audits{
		seconds: prometheus.NewHistogram(histogramOpts(nameAuditSeconds,
			"Time to answer one recall again exactly, in seconds.", []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5})),
		dropped: prometheus.NewCounterVec(counterOpts(nameAuditDropped,
			"Recalls that were to be compared with an exact answer and could not be, by reason."), []string{labelReason}),
		spaces: NewBoundedLabel(maxSpaces, func(space string) *auditedSpace {
			return &auditedSpace{
				queries: queries.WithLabelValues(space), gauge: func() prometheus.Gauge { return ratio.WithLabelValues(space) },
			}
		}),
	}
	for _, reason := range []string{AuditGone, AuditFailed} {
		a.dropped.WithLabelValues(reason)
	}
	return a, []prometheus.Collector{ratio, queries, a.seconds, a.dropped}
}

// Audited takes one audit of a space into account: which share of the true nearest observations a recall had found.
func (w *Worker) Audited(space string, ratio float64) {
	s := w.audits.spaces.Get(space)
	s.queries.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[s.n%auditWindow] = ratio
	s.n++
	sum, n := 0.0, min(s.n, auditWindow)
	for _, r := range s.last[:n] {
		sum += r
	}
	s.gauge().Set(sum / float64(n))
}

// AuditDropped counts a recall that could not be compared: AuditGone or AuditFailed.
func (w *Worker) AuditDropped(reason string) { w.audits.dropped.WithLabelValues(reason).Inc() }

// AuditSeconds takes the time of one audit into account.
func (w *Worker) AuditSeconds(seconds float64) { w.audits.seconds.Observe(seconds) }
