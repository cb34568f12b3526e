package metrics

import "github.com/prometheus/client_golang/prometheus"

// Sessions is what the streams of a gateway measure.
type Sessions struct {
	// Active is the number of sessions that have a stream.
	Active prometheus.Gauge
	// QueueBytes is what streams hold of observations that are not acknowledged
	// and of answers that are not sent.
	QueueBytes prometheus.Gauge
}

// NewSessions registers the metrics of the streams. The error is a clash with a
// Sessions that is in the registry already.
func NewSessions(reg prometheus.Registerer) (*Sessions, error) {
	s := &Sessions{
		Active:     prometheus.NewGauge(gaugeOpts(nameActiveSessions, "Sessions that have a stream on this gateway.")),
		QueueBytes: queueMemory("streams"),
	}
	if err := register(reg, "sessions", s.Active, s.QueueBytes); err != nil {
		return nil, err
	}
	return s, nil
}
