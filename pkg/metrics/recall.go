package metrics

import "github.com/prometheus/client_golang/prometheus"

// Recall is what a process that answers recalls measures. In the all-in-one node
// the worker and the recall API share one, and each recall is observed once, by
// the part that sends the reply.
type Recall struct {
	// Latency is the time from receiving a recall to sending its reply, in seconds.
	Latency prometheus.Histogram
}

// NewRecall registers the metrics of recall. The error is a clash with a Recall
// that is in the registry already.
func NewRecall(reg prometheus.Registerer) (*Recall, error) {
	r := &Recall{Latency: prometheus.NewHistogram(histogramOpts(nameRecallLatency,
		"Time from receiving a recall to sending its reply, in seconds.",
		[]float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5}))}
	if err := register(reg, "recall", r.Latency); err != nil {
		return nil, err
	}
	return r, nil
}
