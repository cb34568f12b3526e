package metrics

import "github.com/prometheus/client_golang/prometheus"

const (
	nameObservations    = "engram_streaming_observations_total"
	nameRejected        = "engram_streaming_observations_rejected_total"
	nameActivations     = "engram_streaming_backpressure_activations_total"
	nameBackpressure    = "engram_streaming_backpressure_state"
	nameActiveSessions  = "engram_streaming_active_sessions"
	nameQueueMemory     = "engram_streaming_queue_memory_bytes"
	nameQueueDepth      = "engram_streaming_queue_depth"
	nameUtilization     = "engram_streaming_worker_utilization_ratio"
	nameLatency         = "engram_streaming_observation_latency_seconds"
	nameRecallLatency   = "engram_streaming_recall_latency_seconds"
	nameBatchSize       = "engram_streaming_batch_size"
	nameStolen          = "engram_streaming_work_stolen_total"
	nameStaleness       = "engram_streaming_staleness_seconds"
	nameLag             = "engram_streaming_consumer_lag"
	nameServing         = "engram_streaming_shard_serving"
	namePanics          = "engram_streaming_worker_panics_total"
	nameQuarantined     = "engram_streaming_quarantined_total"
	nameHNSWInsert      = "engram_hnsw_insert_duration_seconds"
	nameAuditRatio      = "engram_recall_audit_recall_ratio"
	nameAuditQueries    = "engram_recall_audit_queries_total"
	nameAuditDropped    = "engram_recall_audit_dropped_total"
	nameAuditSeconds    = "engram_recall_audit_seconds"
	nameStreamFirst     = "engram_jetstream_stream_first_sequence"
	nameStreamLast      = "engram_jetstream_stream_last_sequence"
	nameStreamMessages  = "engram_jetstream_stream_messages"
	nameStreamBytes     = "engram_jetstream_stream_bytes"
	nameConsPending     = "engram_jetstream_consumer_pending"
	nameConsAckPending  = "engram_jetstream_consumer_ack_pending"
	nameConsRedelivered = "engram_jetstream_consumer_redelivered"
	nameConsDelivered   = "engram_jetstream_consumer_last_sequence"
	nameConsAckFloor    = "engram_jetstream_consumer_ack_floor_sequence"
	namePollFailures    = "engram_jetstream_poll_failures_total"
)

const (
	nameSnapshotTime     = "engram_snapshot_last_success_timestamp_seconds"
	nameSnapshotPosition = "engram_snapshot_position"
	nameSnapshotBytes    = "engram_snapshot_stored_bytes_total"
	nameSnapshotFailures = "engram_snapshot_failures_total"
)

const (
	labelSpace    = "memory_space"
	labelPriority = "priority"
	labelReason   = "reason"
	labelShard    = "shard"
	labelLevel    = "level"
	labelPart     = "part"
	labelWorker   = "worker_id"
	labelStream   = "stream"
	labelConsumer = "consumer"

	priorityNormal = "normal"
	priorityHigh   = "high"
)

// Other is the label value that stands for all that a [BoundedLabel] has no room for.
const Other = "other"

// queueMemory makes the gauge of the bytes that wait in one part of a process; each part has its own.
func queueMemory(part string) prometheus.Gauge {
	opts := gaugeOpts(nameQueueMemory, "Bytes of observations that wait in memory: in the gateway for the log, in its streams for acknowledgements and readers (what waits for readers counts in the gateway, too), in the worker for the index.")
	opts.ConstLabels = prometheus.Labels{labelPart: part}
	return prometheus.NewGauge(opts)
}

// latencyBuckets are those of the freshness objective, in seconds.
func latencyBuckets() []float64 {
	return []float64{.001, .005, .01, .02, .05, .1, .2, .5, 1, 5}
}
