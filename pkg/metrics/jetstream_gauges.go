package metrics

import (
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// jetStreamGauges hold the values of the last read.
type jetStreamGauges struct {
	first, last, messages, bytes                          *prometheus.GaugeVec // by stream
	pending, ackPending, redelivered, delivered, ackFloor *prometheus.GaugeVec // by stream and consumer
}

func newJetStreamGauges() jetStreamGauges {
	stream := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(gaugeOpts(name, help), []string{labelStream})
	}
	consumer := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(gaugeOpts(name, help), []string{labelStream, labelConsumer})
	}
	return jetStreamGauges{
		first:    stream(nameStreamFirst, "First sequence that is in the stream."),
		last:     stream(nameStreamLast, "Last sequence of the stream."),
		messages: stream(nameStreamMessages, "Messages in the stream."),
		bytes:    stream(nameStreamBytes, "Bytes of the messages in the stream."),

		pending:     consumer(nameConsPending, "Messages that were not delivered to the consumer yet."),
		ackPending:  consumer(nameConsAckPending, "Messages that were delivered and not acknowledged; they wait for a checkpoint."),
		redelivered: consumer(nameConsRedelivered, "Messages that were delivered again and not acknowledged yet."),
		delivered:   consumer(nameConsDelivered, "Last stream sequence that was delivered to the consumer."),
		ackFloor:    consumer(nameConsAckFloor, "Stream sequence up to which all is acknowledged."),
	}
}

func (g *jetStreamGauges) byStream() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{g.first, g.last, g.messages, g.bytes}
}

func (g *jetStreamGauges) byConsumer() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{g.pending, g.ackPending, g.redelivered, g.delivered, g.ackFloor}
}

func (g *jetStreamGauges) all() []prometheus.Collector {
	var all []prometheus.Collector
	for _, vec := range append(g.byStream(), g.byConsumer()...) {
		all = append(all, vec)
	}
	return all
}

func (g *jetStreamGauges) setStream(name string, info *jetstream.StreamInfo) {
	g.first.WithLabelValues(name).Set(float64(info.State.FirstSeq))
	g.last.WithLabelValues(name).Set(float64(info.State.LastSeq))
	g.messages.WithLabelValues(name).Set(float64(info.State.Msgs))
	g.bytes.WithLabelValues(name).Set(float64(info.State.Bytes))
}

func (g *jetStreamGauges) setConsumer(id consumerID, info *jetstream.ConsumerInfo) {
	g.pending.WithLabelValues(id.stream, id.consumer).Set(float64(info.NumPending))
	g.ackPending.WithLabelValues(id.stream, id.consumer).Set(float64(info.NumAckPending))
	g.redelivered.WithLabelValues(id.stream, id.consumer).Set(float64(info.NumRedelivered))
	g.delivered.WithLabelValues(id.stream, id.consumer).Set(float64(info.Delivered.Stream))
	g.ackFloor.WithLabelValues(id.stream, id.consumer).Set(float64(info.AckFloor.Stream))
}

func (g *jetStreamGauges) dropStream(name string) {
	for _, vec := range g.byStream() {
		vec.DeleteLabelValues(name)
	}
}

func (g *jetStreamGauges) dropConsumer(id consumerID) {
	for _, vec := range g.byConsumer() {
		vec.DeleteLabelValues(id.stream, id.consumer)
	}
}
