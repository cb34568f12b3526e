package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// maxReasons bounds the reasons of each kind of refusal. They are codes of the
// wire contract, so more than this is a mistake that must not cost memory.
const maxReasons = 64

const helpObservations = "Observations that were committed to the log, by space and priority."

// Gateway counts what the ingest gateway accepted and refused.
type Gateway struct {
	// QueueMemory is the bytes of requests that are being read, or wait for the log, and of
	// what streams have yet to send, which Sessions has, too.
	QueueMemory prometheus.Gauge

	spaces      *BoundedLabel[*GatewaySpace]
	activations *prometheus.CounterVec
	state       *prometheus.GaugeVec
}

// GatewayShard is what a gateway measures of one shard.
type GatewayShard struct {
	// Normal and High count how often backpressure began: at the activation share of the capacity, for normal
	// observations, and at all of it, for high ones.
	Normal, High prometheus.Counter
	// State is 0 while all are taken, 1 while normal ones are taken from spaces under their share alone, 2 once high
	// ones were refused, too.
	State prometheus.Gauge
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
	g := &Gateway{
		QueueMemory: queueMemory("gateway"),
		activations: prometheus.NewCounterVec(counterOpts(nameActivations,
			"How often backpressure began, by shard and the priority that was refused from then on."), []string{labelShard, labelLevel}),
		state: prometheus.NewGaugeVec(gaugeOpts(nameBackpressure,
			"0 while a shard takes everything, 1 while it refuses normal observations of spaces over their share, 2 while it refuses high ones, too."), []string{labelShard}),
	}
	if err := register(reg, "gateway", accepted, rejected, g.QueueMemory, g.activations, g.state); err != nil {
		return nil, err
	}
	g.spaces = NewBoundedLabel(maxSpaces, func(space string) *GatewaySpace {
		return &GatewaySpace{
			Normal: accepted.WithLabelValues(space, priorityNormal),
			High:   accepted.WithLabelValues(space, priorityHigh),
			rejected: NewBoundedLabel(maxReasons, func(reason string) prometheus.Counter {
				return rejected.WithLabelValues(space, reason)
			}),
		}
	})
	return g, nil
}

// Shard returns what is measured of a shard. It is looked up under a lock and allocates: keep it.
func (g *Gateway) Shard(shard int) GatewayShard {
	label := strconv.Itoa(shard)
	return GatewayShard{
		Normal: g.activations.WithLabelValues(label, priorityNormal), High: g.activations.WithLabelValues(label, priorityHigh),
		State: g.state.WithLabelValues(label),
	}
}

// Space returns the counters of a space, without allocation for one that is
// known. Names that are not legal must not come here (they would use up the
// bound): count those refusals under [Other].
func (g *Gateway) Space(name string) *GatewaySpace { return g.spaces.Get(name) }

// Rejected is the counter of the refusals with this error code.
func (s *GatewaySpace) Rejected(reason string) prometheus.Counter { return s.rejected.Get(reason) }
