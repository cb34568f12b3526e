package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
)

// startKeeping runs a node like startNode whose worker keeps its snapshots somewhere and takes those alone that are asked for.
func startKeeping(t *testing.T, data, store string) *node.Node {
	t.Helper()
	cfg := node.DefaultConfig(data)
	cfg.Worker.Snapshot.Store, cfg.Worker.Snapshot.Interval = store, 0
	return startNodeOf(t, cfg)
}

// keepNotes observes what the tests look for.
func keepNotes(t *testing.T) {
	t.Helper()
	engram(t, "observe", "notes", "the door code is 4711", "--id", "door", "--meta", "floor=2", "--ack", "searchable")
	engram(t, "observe", "notes", "the cellar is locked", "--id", "cellar", "--ack", "searchable")
	engram(t, "observe", "notes", "the attic is open", "--id", "attic", "--ack", "searchable")
	engram(t, "observe", "notes", "the attic is closed", "--id", "attic", "--ack", "searchable")
	engram(t, "forget", "notes", "cellar", "--ack", "searchable")
}

// A snapshot is taken, listed, and verified; a worker's directory is restored from it, and another Engram gets the space under
// another name.
func TestSnapshotsByCommand(t *testing.T) {
	data, dir := t.TempDir(), t.TempDir()
	store := "dir:" + dir
	n := startKeeping(t, data, store)
	keepNotes(t)
	shard := fmt.Sprint(event.ShardOf("notes", event.DefaultShards))
	contains(t, engram(t, "snapshot"), "SHARD", "nothing to keep")
	contains(t, engram(t, "snapshot", "--shard", shard), "(unchanged)")
	list := engram(t, "snapshot", "list", "--store", store)
	contains(t, list, "/"+shard+"/")
	if lines := strings.Count(list, "\n"); lines != 2 {
		t.Errorf("%d lines for one snapshot:\n%s", lines, list)
	}
	one := decode[listedSnapshot](t, engram(t, "snapshot", "list", "--store", store, "--json"))
	contains(t, engram(t, "verify", "--store", store), "shard "+shard, one.Snapshot, "whole")
	contains(t, fails(t, exitFailure, "verify", "--store", store, "--log", "other/0/1"), "no such snapshot")
	contains(t, engram(t, "trim", "--store", store, "--shard", shard, "--dry-run"), "nothing to remove")
	contains(t, fails(t, exitFailure, "trim", "--store", "dir:"+t.TempDir(), "--shard", shard), "has no snapshot of it that can be used")

	worker := filepath.Join(data, "worker")
	contains(t, fails(t, exitFailure, "restore", "--store", store, "--dir", worker), "is in use")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	contains(t, fails(t, exitFailure, "restore", "--store", store, "--dir", worker), "holds something")
	if err := os.RemoveAll(filepath.Join(worker, "shard-"+shard)); err != nil {
		t.Fatal(err)
	}
	contains(t, engram(t, "restore", "--store", store, "--dir", worker), "restored at", one.Log)
	startKeeping(t, data, "")
	was := engram(t, "list", "notes")
	contains(t, was, "4711", "closed")

	// Another Engram, under another name, twice.
	startKeeping(t, t.TempDir(), "")
	args := []string{"restore", "--store", store, "--space", "notes", "--as", "old-notes"}
	contains(t, engram(t, args...), "2 sent to old-notes, 0 there already, 0 refused")
	contains(t, engram(t, args...), "0 sent to old-notes, 2 there already, 0 refused")
	got := engram(t, "list", "old-notes")
	if got != was || strings.Contains(got, "cellar") || strings.Contains(got, "is open") {
		t.Errorf("what was, with its times:\n%s\nis now:\n%s", was, got)
	}
	contains(t, engram(t, "get", "old-notes", "door"), "floor=2")
	contains(t, engram(t, "recall", "old-notes", "what is the door code", "-k", "1"), "4711")
	contains(t, fails(t, exitFailure, "restore", "--store", store, "--space", "notes", "--shard", "0", "--as", "x", "--snapshot", one.Snapshot), "no such snapshot")
	engram(t, "create", "narrow", "--dim", "3")
	contains(t, fails(t, exitFailure, "restore", "--store", store, "--space", "notes", "--as", "narrow"), "conflict")
}

// The same from the object store of NATS, with what is damaged there found and mended.
func TestSnapshotsInTheBucket(t *testing.T) {
	startKeeping(t, t.TempDir(), "bucket")
	keepNotes(t)
	shard := fmt.Sprint(event.ShardOf("notes", event.DefaultShards))
	contains(t, engram(t, "snapshot", "--shard", shard, "--keep", "1"), shard)
	contains(t, engram(t, "verify"), "whole")
	contains(t, engram(t, "restore", "--space", "notes", "--as", "again"), "2 sent to again")
}

// A damaged chunk is found, discarded, and stored anew.
func TestVerifyFindsDamage(t *testing.T) {
	dir := t.TempDir()
	startKeeping(t, t.TempDir(), "dir:"+dir)
	keepNotes(t)
	engram(t, "snapshot")
	chunks, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", "chunk-*"))
	if err != nil || len(chunks) != 1 {
		t.Fatalf("%q, %v", chunks, err)
	}
	b, err := os.ReadFile(chunks[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(chunks[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	contains(t, fails(t, exitFailure, "verify", "--store", "dir:"+dir, "--discard"), "not all snapshots are whole")
	contains(t, fails(t, exitFailure, "verify", "--store", "dir:"+dir), "not all snapshots are whole")
	engram(t, "snapshot", "--keep", "1")
	contains(t, engram(t, "verify", "--store", "dir:"+dir), "whole")
}

func TestSnapshotUsage(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"snapshot --shard 256", "--shard is 256"},
		{"snapshot --timeout 0", "--timeout is 0s"},
		{"snapshot list --store /tmp", "--store"},
		{"snapshot list --store s3://key:x@b", "--store"},
		{"verify --snapshot newest", "--snapshot"},
		{"verify --rate -1", "--rate"},
		{"trim --keep -1h", "--keep is -1h"},
		{"restore", "give either --dir"},
		{"restore --dir a --space b", "give either --dir"},
		{"restore --dir a --as b", "go with --space"},
		{"restore --space ../a", "invalid_space"},
		{"restore --space a --as ../b", "invalid_space"},
		{"restore --space a --shards 300", "--shards"},
	} {
		contains(t, fails(t, exitUsage, strings.Fields(tc.args)...), tc.want)
	}
}
