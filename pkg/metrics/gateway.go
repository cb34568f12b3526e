package metrics

import "github.com/prometheus/client_golang/prometheus"

// maxReasons bounds the reasons of each kind of refusal. They are codes of the
// wire contract, so more than this is a mistake that must not cost memory.
const maxReasons = 64

const helpObservations = "Observations that were committed to the log, by space and priority."

// Gateway counts what the ingest gateway accepted and refused.
type Gateway struct {
	spaces *BoundedLabel[*GatewaySpace]
}

// GatewaySpace is the share of one space in the metrics of the gateway, or that
// of all spaces beyond the bound. It is safe for concurrent use.
type GatewaySpace struct {
	// Normal and High count observations that are durable in the log, by priority.
	Normal, High prometheus.Counter

	rejected *BoundedLabel[prometheus.Counter]
}

// NewGateway registers the metrics of the gateway. The first maxSpaces spaces are
// named in memory_space; the rest are counted under "other". The error is a clash
// with a Gateway that is in the registry already.
func NewGateway(reg prometheus.Registerer, maxSpaces int) (*Gateway, error) {
	accepted := prometheus.NewCounterVec(counterOpts(nameObservations, helpObservations), []string{labelSpace, labelPriority})
	rejected := prometheus.NewCounterVec(counterOpts(nameRejected,
		"Observations that were refused, by space and error code."), []string{labelSpace, labelReason})
	if err := register(reg, "gateway", accepted, rejected); err != nil {
		return nil, err
	}
	return &Gateway{spaces: NewBoundedLabel(maxSpaces, func(space string) *GatewaySpace {
		return &GatewaySpace{
			Normal: accepted.WithLabelValues(space, priorityNormal),
			High:   accepted.WithLabelValues(space, priorityHigh),
			rejected: NewBoundedLabel(maxReasons, func(reason string) prometheus.Counter {
				return rejected.WithLabelValues(space, reason)
			}),
		}
	})}, nil
}

// Space returns the counters of a space, without allocation for one that is
// known. Names that are not legal must not come here (they would use up the
// bound): count those refusals under [Other].
func (g *Gateway) Space(name string) *GatewaySpace { return g.spaces.Get(name) }

// Rejected is the counter of the refusals with this error code.
func (s *GatewaySpace) Rejected(reason string) prometheus.Counter { return s.rejected.Get(reason) }
