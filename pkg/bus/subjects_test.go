package bus

import (
	"testing"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/streams"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		got, want string
		space     string // What SpaceOf finds; "" for nothing.
		shard     int    // What ShardOf finds; -1 for nothing.
		worker    string
	}{
		{LogSubject(7, "net-http"), "engram.log.7.net-http", "net-http", 7, ""},
		{LogSubject(255, "a"), "engram.log.255.a", "a", 255, ""},
		{ObserveSubject("net"), "engram.observe.net", "net", -1, ""},
		{RecallSubject("net"), "engram.recall.net", "net", -1, ""},
		{GetSubject("net"), "engram.get.net", "net", -1, ""},
		{ListSubject("net"), "engram.list.net", "net", -1, ""},
		{ForgetSubject("net"), "engram.forget.net", "net", -1, ""},
		{DefineSubject("net"), "engram.define.net", "net", -1, ""},
		{CompactSubject("net"), "engram.compact.net", "net", -1, ""},
		{PressureSubject("net"), "engram.pressure.net", "net", -1, ""},
		{RecallSubject(Any), "engram.recall.*", "", -1, ""},
		{SpacesSubject, "engram.spaces", "", -1, ""},
		{ShardSubject(3, VerbRecall), "engram.shard.3.recall", "", 3, ""},
		{ShardSubject(3, VerbAwait), "engram.shard.3.await", "", 3, ""},
		{ShardSubject(3, VerbCompact), "engram.shard.3.compact", "", 3, ""},
		{HeartbeatSubject("w1"), "engram.heartbeat.w1", "", -1, "w1"},
		{QuarantineSubject(0), "engram.quarantine.0", "", 0, ""},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
		if space, ok := SpaceOf(c.got); space != c.space || ok != (c.space != "") {
			t.Errorf("SpaceOf(%s) = %q, %v", c.got, space, ok)
		}
		if shard, ok := ShardOf(c.got); ok != (c.shard >= 0) || ok && shard != c.shard {
			t.Errorf("ShardOf(%s) = %d, %v", c.got, shard, ok)
		}
		if worker, ok := WorkerOf(c.got); worker != c.worker || ok != (c.worker != "") {
			t.Errorf("WorkerOf(%s) = %q, %v", c.got, worker, ok)
		}
	}
}

func TestForeignSubjects(t *testing.T) {
	for _, s := range []string{
		"", ".", "engram", "engram.", "engram..", "engram.observe", "engram.observe.", "engram.observe.a.b",
		"engram.observe.A", "Engram.observe.a", "x.engram.observe.a", "engram.log.a", "engram.log.256.a", "engram.log.-1.a",
		"engram.log.07.a", "engram.log.+7.a", "engram.log.7.", "engram.log.7", "engram.log.7.a.b", "engram.shard.1.",
		"engram.shard.1", "engram.quarantine.1.x", "engram.heartbeat.", "engram.heartbeat.a.b", "engram.spaces.a",
	} {
		if space, ok := SpaceOf(s); ok {
			t.Errorf("SpaceOf(%q) = %q", s, space)
		}
		if worker, ok := WorkerOf(s); ok {
			t.Errorf("WorkerOf(%q) = %q", s, worker)
		}
		if shard, ok := ShardOf(s); ok && s != "engram.log.7.a.b" {
			t.Errorf("ShardOf(%q) = %d", s, shard)
		}
	}
}

// The names in the code and in the definitions are written twice; here they meet.
func TestNamesAreThoseOfTheDefinitions(t *testing.T) {
	for _, shard := range []int{0, 5, event.MaxShards - 1} {
		cfg, err := streams.Log(shard)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Name != LogStream(shard) || cfg.Subjects[0] != LogSubject(shard, ">") {
			t.Errorf("shard %d: the definition has %s on %s", shard, cfg.Name, cfg.Subjects[0])
		}
	}
	spaces, err1 := streams.Spaces()
	sessions, err := streams.Sessions()
	if sessions.Name != "KV_"+SessionsBucket {
		t.Errorf("the definition of the bucket of sessions has %s (%v)", sessions.Name, err)
	}
	members, err := streams.Members()
	if members.Name != "KV_"+MembersBucket {
		t.Errorf("the definition of the bucket of members has %s (%v)", members.Name, err)
	}
	snapshots, err := streams.Snapshots()
	if snapshots.Name != SnapshotsStream {
		t.Errorf("the definition of the object store of snapshots has %s (%v)", snapshots.Name, err)
	}
	meta, err2 := streams.Meta()
	quarantine, err3 := streams.Quarantine()
	if spaces.Name != "KV_"+SpacesBucket || meta.Name != "KV_"+MetaBucket || quarantine.Name != QuarantineStream {
		t.Errorf("the definitions have %s (%v), %s (%v), %s (%v)", spaces.Name, err1, meta.Name, err2, quarantine.Name, err3)
	}
}

func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"engram.log.7.net", "engram.observe.net", "engram.shard.1.recall", "engram.heartbeat.w", "engram.quarantine.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		space, isSpace := SpaceOf(subject)
		shard, isShard := ShardOf(subject)
		if isSpace && event.ValidateSpace(space) != nil {
			t.Fatalf("SpaceOf(%q) = %q, which is no space", subject, space)
		}
		if isShard && (shard < 0 || shard >= event.MaxShards) {
			t.Fatalf("ShardOf(%q) = %d", subject, shard)
		}
		if isSpace && isShard && LogSubject(shard, space) != subject {
			t.Fatalf("%q is read as shard %d and space %q", subject, shard, space)
		}
		if worker, ok := WorkerOf(subject); ok && (isSpace || isShard || HeartbeatSubject(worker) != subject) {
			t.Fatalf("%q is read as worker %q", subject, worker)
		}
	})
}
