package streams

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/event"
)

// The files of the default shards are kept by hand for the nats command; the code reads only the first.
func TestLogFilesAreWhatIsDerived(t *testing.T) {
	found, err := fs.Glob(Files(), "ENGRAM_LOG_*.json")
	if err != nil || len(found) != event.DefaultShards {
		t.Fatalf("found %d log files (%v), want %d", len(found), err, event.DefaultShards)
	}
	for shard := range event.DefaultShards {
		name := fmt.Sprintf("ENGRAM_LOG_%d.json", shard)
		file, err := fs.ReadFile(Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		derived, err := logText(shard)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(derived), string(file)); diff != "" {
			t.Errorf("%s is not what ENGRAM_LOG_0.json derives for shard %d (-derived +file):\n%s", name, shard, diff)
		}
	}
}

func TestLogOfAnyShard(t *testing.T) {
	for _, shard := range []int{0, 1, 10, 255} {
		cfg, err := Log(shard)
		if err != nil {
			t.Fatal(err)
		}
		want := jetstream.StreamConfig{
			Name:         fmt.Sprintf("ENGRAM_LOG_%d", shard),
			Description:  fmt.Sprintf("Engram: the log of shard %d, the only source of truth of its spaces. Do not purge by hand above the oldest snapshot.", shard),
			Subjects:     []string{fmt.Sprintf("engram.log.%d.>", shard)},
			Discard:      jetstream.DiscardNew,
			MaxConsumers: -1, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1,
			MaxMsgSize: 1 << 20,
			Replicas:   1,
			Duplicates: 4 * time.Minute,
			Metadata:   map[string]string{"engram.kind": "log", "engram.shard": fmt.Sprint(shard)},

			AllowDirect: true, AllowAtomicPublish: true,
		}
		if diff := cmp.Diff(want, cfg); diff != "" {
			t.Errorf("shard %d (-want +got):\n%s", shard, diff)
		}
	}
	for _, shard := range []int{-1, event.MaxShards} {
		if _, err := Log(shard); err == nil {
			t.Errorf("shard %d was accepted", shard)
		}
	}
}

// Every file is decoded by some function under its own name, and says which kind it is.
func TestEveryFileDecodes(t *testing.T) {
	seen := 0
	err := fs.WalkDir(Files(), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		seen++
		text, err := fs.ReadFile(Files(), file)
		if err != nil {
			return err
		}
		if strings.HasPrefix(file, "consumers/") {
			var cfg jetstream.ConsumerConfig
			if err := decode(file, text, &cfg); err != nil {
				t.Error(err)
			}
			return nil
		}
		var cfg jetstream.StreamConfig
		if err := decode(file, text, &cfg); err != nil {
			t.Error(err)
		}
		if cfg.Name+".json" != path.Base(file) {
			t.Errorf("%s defines %q: a file is named after what it defines", file, cfg.Name)
		}
		if cfg.Metadata["engram.kind"] == "" {
			t.Errorf("%s has no engram.kind in its metadata", file)
		}
		// persist_mode async turns the server's sync_interval: always off without a word.
		if cfg.PersistMode != jetstream.DefaultPersistMode || cfg.Storage != jetstream.FileStorage {
			t.Errorf("%s is not durable: persist_mode %v, storage %v", file, cfg.PersistMode, cfg.Storage)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := event.DefaultShards + 7; seen != want {
		t.Errorf("%d definitions are embedded, want %d", seen, want)
	}
}

func TestNamedStreams(t *testing.T) {
	for name, get := range map[string]func() (jetstream.StreamConfig, error){
		"ENGRAM_QUARANTINE": Quarantine, "KV_ENGRAM_SPACES": Spaces, "KV_ENGRAM_SESSIONS": Sessions, "KV_ENGRAM_META": Meta, "KV_ENGRAM_MEMBERS": Members,
		"OBJ_ENGRAM_SNAPSHOTS": Snapshots,
	} {
		if cfg, err := get(); err != nil || cfg.Name != name {
			t.Errorf("got %q (%v), want %q", cfg.Name, err, name)
		}
	}
}

func TestWorker(t *testing.T) {
	cfg, err := Worker("host-7_a")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Durable != "worker_host-7_a" || cfg.Name != "" {
		t.Errorf("durable %q, name %q", cfg.Durable, cfg.Name)
	}
	if cfg.AckPolicy != jetstream.AckAllPolicy || cfg.DeliverPolicy != jetstream.DeliverAllPolicy || cfg.MaxAckPending != -1 ||
		cfg.AckWait != 30*time.Second || cfg.InactiveThreshold != 24*time.Hour {
		t.Errorf("unexpected definition: %+v", cfg)
	}
	for _, id := range []string{"", "a.b", "a b", "a*", "a>", "a/b", "ä", strings.Repeat("x", maxWorker+1)} {
		if _, err := Worker(id); err == nil {
			t.Errorf("worker id %q was accepted", id)
		}
	}
}

func TestDecodeRefusesWhatTheServerWould(t *testing.T) {
	for _, text := range []string{`{"name":"A","max_mgs":1}`, `{"name":"A"} {}`, `{"max_age":"1h"}`, ``} {
		var cfg jetstream.StreamConfig
		if err := decode("x.json", []byte(text), &cfg); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
