package bus_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/streams"
)

func mustEnsure(t *testing.T, js jetstream.JetStream, want bus.TopologyConfig) (bus.Topology, []bus.Difference) {
	t.Helper()
	topology, differences, err := bus.EnsureTopology(testContext(t), js, want)
	if err != nil {
		t.Fatal(err)
	}
	return topology, differences
}

func streamNames(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	var names []string
	l := js.StreamNames(testContext(t))
	for name := range l.Name() {
		names = append(names, name)
	}
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
	return names
}

func TestEnsureTopology(t *testing.T) {
	js := bustest.Start(t).Connect().JS
	first, differences := mustEnsure(t, js, bus.TopologyConfig{Shards: 3})
	if first.Shards != 3 || len(first.Epoch) != 10 || len(differences) != 0 {
		t.Fatalf("%+v, differences %v", first, differences)
	}
	if got := len(streamNames(t, js)); got != 3+6 {
		t.Errorf("%d streams exist", got)
	}
	for _, want := range []bus.TopologyConfig{{}, {Shards: 3}, {Replicas: 1}} {
		if again, differences := mustEnsure(t, js, want); again != first || len(differences) != 0 {
			t.Errorf("%+v: got %+v, differences %v, want %+v", want, again, differences, first)
		}
	}
	_, _, err := bus.EnsureTopology(testContext(t), js, bus.TopologyConfig{Shards: 4})
	if !errors.Is(err, bus.ErrShards) || !strings.Contains(err.Error(), "4 are configured") || !strings.Contains(err.Error(), "configure 3") {
		t.Errorf("another number of shards: %v", err)
	}
	if got := len(streamNames(t, js)); got != 3+6 {
		t.Errorf("%d streams exist after the refusal", got)
	}
	for _, bad := range []bus.TopologyConfig{{Shards: -1}, {Shards: 257}, {Replicas: -1}, {Replicas: 6}} {
		if _, _, err := bus.EnsureTopology(testContext(t), js, bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestEnsureTopologyDefaults(t *testing.T) {
	js := bustest.Start(t).Connect().JS
	if topology, _ := mustEnsure(t, js, bus.TopologyConfig{}); topology.Shards != 8 {
		t.Errorf("%+v", topology)
	}
}

// Daemons of a new installation start at the same time: one set of logs comes of it, with one epoch.
func TestEnsureTopologyRace(t *testing.T) {
	srv := bustest.Start(t)
	const daemons = 6
	var (
		start, done sync.WaitGroup
		got         [daemons]bus.Topology
		differences [daemons][]bus.Difference
		errs        [daemons]error
		ctx         = testContext(t)
	)
	start.Add(1)
	for i := range daemons {
		js := srv.Connect().JS
		done.Go(func() {
			start.Wait()
			got[i], differences[i], errs[i] = bus.EnsureTopology(ctx, js, bus.TopologyConfig{Shards: 4})
		})
	}
	start.Done()
	done.Wait()
	for i := range daemons {
		if errs[i] != nil || got[i] != got[0] || len(differences[i]) != 0 {
			t.Errorf("daemon %d: %+v, differences %v, error %v; daemon 0 has %+v", i, got[i], differences[i], errs[i], got[0])
		}
	}
}

// A setting of an operator is told, and not touched.
func TestEnsureTopologyReportsAndDoesNotEdit(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	cfg, err := streams.Log(1)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxBytes, cfg.AllowAtomicPublish = 1<<30, false
	if _, err := js.CreateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	want := []bus.Difference{
		{Stream: "ENGRAM_LOG_1", Field: "allow_atomic", Want: "true", Have: "not set"},
		{Stream: "ENGRAM_LOG_1", Field: "max_bytes", Want: "-1", Have: "1073741824"},
	}
	for range 2 {
		_, got := mustEnsure(t, js, bus.TopologyConfig{Shards: 2})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	_, got := mustEnsure(t, js, bus.TopologyConfig{Replicas: 3})
	if len(got) == 0 || got[0].Field != "num_replicas" || got[0].Want != "3" || got[0].Have != "1" {
		t.Errorf("asked for 3 replicas: %v", got)
	}
	s, err := js.Stream(ctx, "ENGRAM_LOG_1")
	if err != nil {
		t.Fatal(err)
	}
	if have := s.CachedInfo().Config; have.MaxBytes != 1<<30 || have.AllowAtomicPublish {
		t.Errorf("the stream was edited: %+v", have)
	}
}

// A log that is gone while the record says that it was made is a loss, and is never replaced without a word.
func TestEnsureTopologyReportsALostLog(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	first, _ := mustEnsure(t, js, bus.TopologyConfig{Shards: 2})
	if err := js.DeleteStream(ctx, bus.LogStream(1)); err != nil {
		t.Fatal(err)
	}
	again, got := mustEnsure(t, js, bus.TopologyConfig{})
	if again != first || len(got) != 1 || got[0].Stream != "ENGRAM_LOG_1" || got[0].Field != "stream" || !strings.Contains(got[0].Have, "made again") {
		t.Errorf("%+v, differences %v", again, got)
	}
	if _, got := mustEnsure(t, js, bus.TopologyConfig{}); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}

func TestEnsureTopologyRefusesABrokenRecord(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	kv, err := js.KeyValue(ctx, bus.MetaBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "cluster", `{"epoch":"e.1","shards":1}`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bus.EnsureTopology(ctx, js, bus.TopologyConfig{}); err == nil || !strings.Contains(err.Error(), `"e.1"`) {
		t.Errorf("got %v", err)
	}
}

// What the definitions of the buckets make is what the client library makes, so that it opens them as its own.
func TestBucketsAreTheClientLibrarys(t *testing.T) {
	ctx := testContext(t)
	ours := bustest.Start(t).Connect().JS
	theirs := bustest.Start(t).Connect().JS
	mustEnsure(t, ours, bus.TopologyConfig{Shards: 1})
	for bucket, definition := range map[string]func() (jetstream.StreamConfig, error){
		bus.SpacesBucket: streams.Spaces, bus.MetaBucket: streams.Meta,
	} {
		cfg, err := definition()
		if err != nil {
			t.Fatal(err)
		}
		kv := jetstream.KeyValueConfig{Bucket: bucket, Description: cfg.Description, History: 1, Metadata: cfg.Metadata}
		if _, err := theirs.CreateKeyValue(ctx, kv); err != nil {
			t.Fatal(err)
		}
		var configs [2]jetstream.StreamConfig
		for i, js := range []jetstream.JetStream{ours, theirs} {
			s, err := js.Stream(ctx, "KV_"+bucket)
			if err != nil {
				t.Fatal(err)
			}
			configs[i] = s.CachedInfo().Config
		}
		if diff := cmp.Diff(configs[1], configs[0]); diff != "" {
			t.Errorf("bucket %s (-client library +definition):\n%s", bucket, diff)
		}
		// The client library finds its own bucket already there, not another one of that name.
		if _, err := ours.CreateKeyValue(ctx, kv); err != nil {
			t.Errorf("bucket %s: %v", bucket, err)
		}
	}
	kv, err := ours.KeyValue(ctx, bus.SpacesBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "net", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "net", []byte("2")); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("a second definition of a space: %v", err)
	}
}
