package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Worker is what the space-workers of one process measure.
type Worker struct {
	// QueueDepthNormal and QueueDepthHigh are the observations waiting in the
	// lanes of this process's queues, all shards together.
	QueueDepthNormal, QueueDepthHigh prometheus.Gauge
	// QueueMemory is the bytes of the log's messages that are fetched and not yet searchable, all shards together.
	QueueMemory prometheus.Gauge
	// ObservationLatency is the time from publishing an observation to its being
	// searchable, in seconds; one Observe each.
	ObservationLatency prometheus.Histogram
	// BatchSize is the number of observations in a batch; one Observe a batch.
	BatchSize prometheus.Histogram
	// WorkStolen counts the spaces that an idle index worker took over.
	WorkStolen prometheus.Counter
	// WorkerPanics counts the panics that index workers recovered from.
	WorkerPanics prometheus.Counter
	// HNSWInsert is the time that one row took to be linked into a graph, in
	// seconds; one Observe a row, or a block's mean once a block.
	HNSWInsert prometheus.Histogram
	// SnapshotBytes counts the bytes that snapshots added to their store.
	SnapshotBytes prometheus.Counter
	// SnapshotFailures counts the snapshots that could not be taken.
	SnapshotFailures prometheus.Counter

	utilization *prometheus.GaugeVec
	staleness   *prometheus.GaugeVec
	lag         *prometheus.GaugeVec
	serving     *prometheus.GaugeVec
	quarantined *BoundedLabel[prometheus.Counter]
	audits      *audits

	snapshotTime     *prometheus.GaugeVec
	snapshotPosition *prometheus.GaugeVec
}

// WorkerShard is what is measured of one shard that this process holds.
type WorkerShard struct {
	// Staleness is the age of the oldest observation that is not searchable yet,
	// in seconds; 0 when there is none.
	Staleness prometheus.Gauge
	// Lag is the last sequence of the stream less the applied one.
	Lag prometheus.Gauge
	// Serving is 1 while the shard's recalls are answered here, else 0.
	Serving prometheus.Gauge
}

// NewWorker registers the metrics of the workers of a process. The first maxSpaces
// spaces are named in memory_space; the rest are counted under "other". The error
// is a clash with a Worker that is in the registry already.
func NewWorker(reg prometheus.Registerer, maxSpaces int) (*Worker, error) {
	depth := prometheus.NewGaugeVec(gaugeOpts(nameQueueDepth,
		"Observations waiting in the in-process queues, by priority."), []string{labelPriority})
	quarantined := prometheus.NewCounterVec(counterOpts(nameQuarantined,
		"Events of the log that could not be applied and went to quarantine, by reason."), []string{labelReason})
	w := &Worker{
		QueueDepthNormal: depth.WithLabelValues(priorityNormal),
		QueueDepthHigh:   depth.WithLabelValues(priorityHigh),
		QueueMemory:      queueMemory("worker"),
		ObservationLatency: prometheus.NewHistogram(histogramOpts(nameLatency,
			"Time from publishing an observation to its being searchable, in seconds.", latencyBuckets())),
		BatchSize: prometheus.NewHistogram(histogramOpts(nameBatchSize,
			"Observations in a batch that was applied.", []float64{1, 10, 20, 50, 100, 200, 500, 1000})),
		WorkStolen: prometheus.NewCounter(counterOpts(nameStolen,
			"Spaces with a backlog that an idle index worker took over from another.")),
		WorkerPanics: prometheus.NewCounter(counterOpts(namePanics,
			"Panics in index workers that were recovered.")),
		HNSWInsert: prometheus.NewHistogram(histogramOpts(nameHNSWInsert,
			"Time to link one row into a graph, in seconds.",
			[]float64{10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3})),
		utilization: prometheus.NewGaugeVec(gaugeOpts(nameUtilization,
			"Share of the time that an index worker was busy, from 0 to 1."), []string{labelWorker}),
		staleness: prometheus.NewGaugeVec(gaugeOpts(nameStaleness,
			"Age of the oldest observation of a shard that is not searchable yet, in seconds."), []string{labelShard}),
		lag: prometheus.NewGaugeVec(gaugeOpts(nameLag,
			"Last sequence of a shard's stream less the sequence up to which it is searchable here."), []string{labelShard}),
		serving: prometheus.NewGaugeVec(gaugeOpts(nameServing,
			"1 where a worker answers recalls of a shard, 0 where its copy is not fresh enough yet."), []string{labelShard}),
	}
	w.SnapshotBytes = prometheus.NewCounter(counterOpts(nameSnapshotBytes,
		"Bytes that snapshots of shards added to their store."))
	w.SnapshotFailures = prometheus.NewCounter(counterOpts(nameSnapshotFailures,
		"Snapshots of shards that could not be taken."))
	w.snapshotTime = prometheus.NewGaugeVec(gaugeOpts(nameSnapshotTime,
		"When the newest snapshot of a shard that this worker took, or found to be the newest state, was taken, in Unix time."), []string{labelShard})
	w.snapshotPosition = prometheus.NewGaugeVec(gaugeOpts(nameSnapshotPosition,
		"Sequence of the stream through which that snapshot has everything."), []string{labelShard})
	w.quarantined = NewBoundedLabel(maxReasons, func(reason string) prometheus.Counter {
		return quarantined.WithLabelValues(reason)
	})
	all := []prometheus.Collector{
		depth, w.QueueMemory, quarantined, w.ObservationLatency, w.BatchSize, w.WorkStolen, w.WorkerPanics, w.HNSWInsert, w.utilization, w.staleness, w.lag, w.serving,
		w.SnapshotBytes, w.SnapshotFailures, w.snapshotTime, w.snapshotPosition,
	}
	var more []prometheus.Collector
	w.audits, more = newAudits(maxSpaces)
	if err := register(reg, "worker", append(all, more...)...); err != nil {
		return nil, err
	}
	return w, nil
}

// Utilization is the gauge of one index worker, numbered from 0. It is looked up
// under a lock and allocates: keep it.
func (w *Worker) Utilization(workerID int) prometheus.Gauge {
	return w.utilization.WithLabelValues(strconv.Itoa(workerID))
}

// Shard returns the gauges of a shard that this process now holds. They are
// looked up under a lock and allocate: keep them until [Worker.DropShard].
func (w *Worker) Shard(shard int) WorkerShard {
	label := strconv.Itoa(shard)
	return WorkerShard{Staleness: w.staleness.WithLabelValues(label), Lag: w.lag.WithLabelValues(label), Serving: w.serving.WithLabelValues(label)}
}

// DropShard removes the gauges of a shard that went to another worker; otherwise
// they would show its last lag for ever.
func (w *Worker) DropShard(shard int) {
	label := strconv.Itoa(shard)
	w.staleness.DeleteLabelValues(label)
	w.lag.DeleteLabelValues(label)
	w.serving.DeleteLabelValues(label)
	w.snapshotTime.DeleteLabelValues(label)
	w.snapshotPosition.DeleteLabelValues(label)
}

// Snapshot notes the newest snapshot of a shard. Until there is one, a shard has no such gauges, so that none looks as if
// it had been taken in 1970.
func (w *Worker) Snapshot(shard int, position uint64, taken time.Time) {
	label := strconv.Itoa(shard)
	w.snapshotTime.WithLabelValues(label).Set(float64(taken.UnixMilli()) / 1e3)
	w.snapshotPosition.WithLabelValues(label).Set(float64(position))
}

// Quarantined is the counter of the events that were quarantined for a reason,
// found without allocation for a reason that is known.
func (w *Worker) Quarantined(reason string) prometheus.Counter { return w.quarantined.Get(reason) }
