//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/test/e2e/tools"
)

// logged counts the messages of all logs.
func logged(t *testing.T, js jetstream.JetStream) (messages uint64) {
	t.Helper()
	for shard := range shards {
		messages += streamMessages(t, js, bus.LogStream(shard))
	}
	return messages
}

func streamMessages(t *testing.T, js jetstream.JetStream, name string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// poison publishes what no gateway would to the log of demo, and expects each in the quarantine and the shard going on.
func poison(t *testing.T, d *deployment, shard int) {
	js := connect(t, d.nats.url).JS
	wrong := (shard + 1) % shards
	publish := func(shard int, data []byte) { publish(t, d, bus.LogSubject(shard, "demo"), data) }
	publish(shard, []byte("this is no event"))
	publish(wrong, observation(t, "p", 1, 2))
	publish(shard, observation(t, "p", 1, 2, 3))
	publish(shard, observation(t, "p", make([]float32, 512)...))
	publish(shard, observation(t, "p", float32(math.NaN()), 1))
	publish(shard, observation(t, strings.Repeat("i", event.MaxID+1), 1, 2))
	reasons := []string{"malformed", "wrong_dimension", "invalid_embedding", "invalid_embedding", "invalid_id"}
	eventually(t, 10*time.Second, func() error {
		if n := streamMessages(t, js, bus.QuarantineStream); n != uint64(len(reasons))+1 {
			return fmt.Errorf("the quarantine has %d events, want %d", n, len(reasons)+1)
		}
		return nil
	})
	for i := range len(reasons) + 1 {
		out := d.cli.Run("stream", "get", bus.QuarantineStream, strconv.Itoa(i+1))
		want, from := "unknown_space", wrong // of the other shard, which may be the other worker's
		if strings.Contains(out, bus.QuarantineSubject(shard)+"\n") {
			want, from, reasons = reasons[0], shard, reasons[1:]
		}
		if !strings.Contains(out, bus.HeaderReason+": "+want+"\n") || !strings.Contains(out, bus.LogSubject(from, "demo")) ||
			!strings.Contains(out, bus.HeaderPosition+": ") {
			t.Errorf("event %d of the quarantine, want reason %s:\n%s", i+1, want, out)
		}
	}
	counted := map[string]func(float64) bool{}
	for reason, n := range map[string]float64{"malformed": 1, "wrong_dimension": 1, "invalid_embedding": 2, "invalid_id": 1} {
		counted[`engram_streaming_quarantined_total{reason="`+reason+`"}`] = is(n)
	}
	if d.holder(shard) == d.holder(wrong) {
		counted[`engram_streaming_quarantined_total{reason="unknown_space"}`] = is(1)
	}
	if err := scrape(t, d.holder(shard)).missing(counted); err != nil {
		t.Error(err)
	}
	var got found
	do(t, 200, http.MethodPost, d.gateway.http+"/v1/spaces/demo/observations", `{"id":"after","text":"after the poison","acknowledgement":"searchable"}`, nil)
	do(t, 200, http.MethodPost, d.recall.http+"/v1/spaces/demo/recall", `{"text":"after the poison","k":1}`, &got)
	if len(got.Hits) != 1 || got.Hits[0].ID != "after" {
		t.Errorf("after the poison recall found %v", got.ids())
	}
	var demo struct{ Applied string }
	do(t, 200, http.MethodGet, d.recall.http+"/v1/spaces/demo", "", &demo)
	s, err := js.Stream(t.Context(), bus.LogStream(shard))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := event.ParsePosition(demo.Applied); err != nil || p.Sequence != s.CachedInfo().State.LastSeq {
		t.Errorf("applied is %s (%v), the log's end %d", demo.Applied, err, s.CachedInfo().State.LastSeq)
	}
}

// publish stores a message with the nats command, which reads its bytes from standard input.
func publish(t *testing.T, d *deployment, subject string, data []byte) {
	t.Helper()
	cmd := exec.Command(tools.Build(t, "nats"), "pub", "--server", d.nats.url, "--no-context", "--jetstream", "--no-templates", "--force-stdin", subject)
	cmd.Env = cleanEnv()
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// observation is the log's event of an observation in demo.
func observation(t *testing.T, id string, vector ...float32) []byte {
	t.Helper()
	b, err := proto.Marshal(&api.LogEvent{Event: &api.LogEvent_Observe{Observe: &api.Observation{
		Id: id, Space: "demo", Embedding: &api.Embedding{Data: event.AppendF32(nil, vector), Encoding: api.Encoding_ENCODING_F32},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// metricNames expects all that the tests before have done in the metrics of each daemon.
func metricNames(t *testing.T, d *deployment, shard int) {
	stream, worker := bus.LogStream(shard), d.holder(shard)
	type wants = map[string]func(float64) bool
	streams := func(want wants) wants {
		for _, name := range []string{"first_sequence", "last_sequence", "messages", "bytes"} {
			want[`engram_jetstream_stream_`+name+`{stream="`+stream+`"}`] = some
			want[`engram_jetstream_stream_`+name+`{stream="`+bus.QuarantineStream+`"}`] = some
		}
		return want
	}
	label := `{consumer="worker_` + strings.TrimPrefix(worker.name, "space-worker-") + `",stream="` + stream + `"}`
	ofShard := `{shard="` + strconv.Itoa(shard) + `"}`
	ofWorker := streams(wants{
		`engram_streaming_queue_depth{priority="normal"}`:             zero,
		`engram_streaming_queue_depth{priority="high"}`:               zero,
		`engram_streaming_worker_utilization_ratio{worker_id="0"}`:    func(v float64) bool { return v >= 0 && v <= 1 },
		`engram_streaming_observation_latency_seconds_count`:          some,
		`engram_streaming_observation_latency_seconds_sum`:            some,
		`engram_streaming_observation_latency_seconds_bucket{le="5"}`: some,
		`engram_streaming_recall_latency_seconds_count`:               some,
		`engram_streaming_batch_size_count`:                           some,
		`engram_streaming_work_stolen_total`:                          anything,
		`engram_streaming_staleness_seconds` + ofShard:                zero,
		`engram_streaming_consumer_lag` + ofShard:                     zero,
		`engram_streaming_worker_panics_total`:                        zero,
		`engram_hnsw_insert_duration_seconds_count`:                   anything, // rows of small spaces are not linked
		`engram_streaming_quarantined_total{reason="malformed"}`:      some,
		`engram_recall_audit_queries_total{memory_space="demo"}`:      some,
		`engram_recall_audit_recall_ratio{memory_space="demo"}`:       is(1),
		`engram_recall_audit_seconds_count`:                           some,
		`engram_recall_audit_dropped_total{reason="failed"}`:          zero,
		`engram_jetstream_consumer_pending` + label:                   zero,
		`engram_jetstream_consumer_ack_pending` + label:               zero,
		`engram_jetstream_consumer_redelivered` + label:               zero,
		`engram_jetstream_consumer_last_sequence` + label:             some,
		`engram_jetstream_consumer_ack_floor_sequence` + label:        some,
	})
	for _, le := range []string{"0.001", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "5", "+Inf"} {
		ofWorker[`engram_streaming_observation_latency_seconds_bucket{le="`+le+`"}`] = anything
	}
	for _, of := range []struct {
		d    *daemon
		want wants
	}{
		{worker, ofWorker},
		{d.gateway, streams(wants{
			`engram_streaming_observations_total{memory_space="demo",priority="normal"}`:                 some,
			`engram_streaming_observations_total{memory_space="web",priority="high"}`:                    is(1),
			`engram_streaming_observations_total{memory_space="web",priority="normal"}`:                  is(3),
			`engram_streaming_observations_rejected_total{memory_space="demo",reason="wrong_dimension"}`: is(2),
			`engram_streaming_observations_rejected_total{memory_space="other",reason="invalid_space"}`:  is(2),
		})},
		{d.recall, wants{`engram_streaming_recall_latency_seconds_count`: some, `process_open_fds`: some, `go_goroutines`: some}},
	} {
		// The state of JetStream is read once a second, and the gauges are set with the heartbeats.
		eventually(t, 10*time.Second, func() error {
			if err := scrape(t, of.d).missing(of.want); err != nil {
				return fmt.Errorf("%s: %w", of.d.name, err)
			}
			return nil
		})
	}
}

func probes(t *testing.T, d *deployment) {
	for _, p := range d.daemons() {
		var health struct{ Alive, Ready bool }
		do(t, 200, http.MethodGet, p.metrics+"/healthz", "", &health)
		do(t, 200, http.MethodGet, p.metrics+"/readyz", "", &health)
		if !health.Alive || !health.Ready {
			t.Errorf("%s: %+v", p.name, health)
		}
	}
}

// secondWorker starts another worker on the directory of the first, which must not take it.
func secondWorker(t *testing.T, d *deployment) {
	second := newDaemon(t, d.nats, "second-worker", "space-worker", "--name", "c", "--dir", d.dirs[0], "--shards", "0")
	second.start()
	if code := second.wait(); code != 1 {
		t.Errorf("the second worker ended with exit code %d", code)
	}
	lock := filepath.Join(d.dirs[0], "LOCK")
	lines := strings.Split(strings.TrimSpace(string(second.output())), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "space-worker: ") || !strings.Contains(last, lock) ||
		!strings.Contains(last, strconv.Itoa(d.workers[0].cmd.Process.Pid)) {
		t.Errorf("the second worker's last line names neither %s nor its holder:\n%s", lock, last)
	}
	if d.workers[0].ended() {
		t.Error("the first worker has ended")
	}
}
