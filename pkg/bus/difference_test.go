package bus

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/streams"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name         string
		change       func(*jetstream.StreamConfig)
		withReplicas bool
		want         []string
	}{
		{"nothing", func(*jetstream.StreamConfig) {}, true, nil},
		{"limits spelt as zero", func(c *jetstream.StreamConfig) { c.MaxMsgs, c.MaxBytes, c.MaxConsumers = 0, 0, 0 }, true, nil},
		{"description", func(c *jetstream.StreamConfig) { c.Description = "ours" }, true, nil},
		{"the server's metadata", func(c *jetstream.StreamConfig) {
			c.Metadata = map[string]string{"engram.kind": "log", "engram.shard": "0", "_nats.level": "5", "team": "a"}
		}, true, nil},
		{"our metadata", func(c *jetstream.StreamConfig) { c.Metadata = nil }, true, []string{
			`stream ENGRAM_LOG_0: metadata.engram.kind is "", the definition has "log"`,
			`stream ENGRAM_LOG_0: metadata.engram.shard is "", the definition has "0"`,
		}},
		{"replicas that were asked for", func(c *jetstream.StreamConfig) { c.Replicas = 3 }, true,
			[]string{"stream ENGRAM_LOG_0: num_replicas is 3, the definition has 1"}},
		{"replicas that were not", func(c *jetstream.StreamConfig) { c.Replicas = 3 }, false, nil},
		{"a limit", func(c *jetstream.StreamConfig) { c.MaxBytes = 5 << 30 }, true,
			[]string{"stream ENGRAM_LOG_0: max_bytes is 5368709120, the definition has -1"}},
		{"durations", func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Hour, time.Minute }, true, []string{
			"stream ENGRAM_LOG_0: duplicate_window is 1m0s, the definition has 4m0s",
			"stream ENGRAM_LOG_0: max_age is 1h0m0s, the definition has 0s",
		}},
		{"a flag that is off", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, true,
			[]string{"stream ENGRAM_LOG_0: allow_atomic is not set, the definition has true"}},
		{"enumerations", func(c *jetstream.StreamConfig) {
			c.Storage, c.Discard, c.Retention = jetstream.MemoryStorage, jetstream.DiscardOld, jetstream.WorkQueuePolicy
		}, true, []string{
			`stream ENGRAM_LOG_0: discard is "old", the definition has "new"`,
			`stream ENGRAM_LOG_0: retention is "workqueue", the definition has "limits"`,
			`stream ENGRAM_LOG_0: storage is "memory", the definition has "file"`,
		}},
		{"persist mode", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, true,
			[]string{`stream ENGRAM_LOG_0: persist_mode is "async", the definition has not set`}},
		{"subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"x", "engram.log.0.>"} }, true,
			[]string{`stream ENGRAM_LOG_0: subjects is ["engram.log.0.>","x"], the definition has ["engram.log.0.>"]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := streams.Log(0)
			if err != nil {
				t.Fatal(err)
			}
			have := want
			c.change(&have)
			found, err := compare(want, have, c.withReplicas)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range found {
				got = append(got, fmt.Sprint(d))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNormaliseDefaultWindow(t *testing.T) {
	for _, c := range []struct{ age, want time.Duration }{{0, 2 * time.Minute}, {time.Minute, time.Minute}, {time.Hour, 2 * time.Minute}} {
		if got := normalise(jetstream.StreamConfig{MaxAge: c.age}).Duplicates; got != c.want {
			t.Errorf("max_age %v: duplicate_window %v, want %v", c.age, got, c.want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	const good = `{"epoch":"abcdefghij","shards":8,"created_at":"2026-01-02T03:04:05Z"}`
	if r, err := parseRecord([]byte(good)); err != nil || r.Epoch != "abcdefghij" || r.Shards != 8 {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"epoch":"a","shards":0}`, `{"epoch":"a","shards":257}`, `{"epoch":"","shards":8}`,
		`{"epoch":"a.b","shards":8}`, `{"epoch":"a:b","shards":8}`} {
		if r, err := parseRecord([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, r)
		}
	}
	if a, b := newEpoch(), newEpoch(); a == b || len(a) != epochLength {
		t.Errorf("epochs %q and %q", a, b)
	}
}
