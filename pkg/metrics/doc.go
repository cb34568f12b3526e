// Package metrics declares every metric of Engram, grouped by the part that owns
// it, and serves them with the health checks.
//
// Each metric has one owner, so that all parts can share a registry in the
// all-in-one node:
//
//	Gateway    engram_streaming_observations_total{memory_space,priority}
//	           engram_streaming_observations_rejected_total{memory_space,reason}
//	Worker     engram_streaming_queue_depth{priority}
//	           engram_streaming_worker_utilization_ratio{worker_id}
//	           engram_streaming_observation_latency_seconds
//	           engram_streaming_batch_size
//	           engram_streaming_work_stolen_total
//	           engram_streaming_staleness_seconds{shard}
//	           engram_streaming_consumer_lag{shard}
//	           engram_streaming_worker_panics_total
//	           engram_streaming_quarantined_total{reason}
//	           engram_hnsw_insert_duration_seconds
//	           engram_recall_audit_recall_ratio{memory_space}
//	           engram_recall_audit_queries_total{memory_space}
//	           engram_recall_audit_dropped_total{reason}
//	           engram_recall_audit_seconds
//	Recall     engram_streaming_recall_latency_seconds
//	JetStream  engram_jetstream_*{stream,consumer}
//
// A label never takes an unbounded number of values: spaces and reasons go
// through a [BoundedLabel], shards and workers are numbered from 0.
//
// Counters and gauges are looked up once and kept; the methods that look one up
// say what they cost.
package metrics
