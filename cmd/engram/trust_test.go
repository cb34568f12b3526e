package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
)

// What is proven is printed, and what is not ends with exit code 1.
func testProve(t *testing.T) {
	const space = "proven"
	for _, id := range []string{"a", "b", "c"} {
		engram(t, "observe", space, "a long enough text of "+id, "--id", id, "--ack", "searchable", "--meta", "n=1")
	}
	// The log has to know the write ids for minutes still.
	o := engramIn(t.Context(), strings.NewReader(""), "forget", space, "a", "--prove", "--timeout", "2s")
	if o.code != exitFailure || !strings.Contains(o.stderr, "not proven") || !strings.Contains(o.stdout, "younger than the duplicate window") {
		t.Errorf("%+v", o)
	}
	forgetWriteIDs(t, space)
	contains(t, engram(t, "forget", space, "a", "--prove"), "row log", "snapshots", "proven: 1 id of proven and 0 texts, 1 message erased")
	var proof struct {
		Proven bool `json:"proven"`
		Erased int  `json:"erased"`
	}
	if err := json.Unmarshal([]byte(engram(t, "forget", space, "--filter", `metadata.n == 1 && id != "c"`, "--prove", "--json")), &proof); err != nil || !proof.Proven || proof.Erased != 1 {
		t.Errorf("%+v, %v", proof, err)
	}
	contains(t, engram(t, "forget", space, "--filter", `id == "nobody"`, "--prove"), "nothing in proven matches")
	contains(t, engram(t, "forget", space, "--filter", `id == "nobody"`), "forgot what matches in proven as of ")
	contains(t, engram(t, "list", space), "text of c")
	contains(t, engram(t, "forget", space, "--all", "--yes", "--prove"), "proven: the whole space of proven and 1 text, 1 message erased")
	contains(t, engram(t, "forget", space, "--all", "--yes", "--prove"), "proven: the whole space of proven and 0 texts, 0 messages erased")
	contains(t, fails(t, exitUsage, "forget", space, "a", "--filter", "true"), "give either ids")
}

// forgetWriteIDs has the log of a space know write ids for a moment only.
func forgetWriteIDs(t *testing.T, space string) {
	t.Helper()
	nc, err := nats.Connect(os.Getenv(envServer))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), bus.LogStream(event.ShardOf(space, event.DefaultShards)))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 200 * time.Millisecond
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func testSeveral(t *testing.T) {
	for _, space := range []string{"team-a", "team-b"} {
		for _, id := range []string{"1", "2"} {
			engram(t, "observe", space, "the disk of "+space+" is full "+id, "--id", id, "--ack", "searchable", "--meta", "n="+id)
		}
	}
	contains(t, engram(t, "recall", "--prefix", "team-", "disk full"), "SPACE", "team-a", "team-b", "4 hits, of 2 spaces, ")
	contains(t, engram(t, "recall", "--spaces", "team-a,team-nobody", "disk full"), "without space team-nobody: unknown_space", "2 hits, of 2 spaces")
	one := decode[recalled](t, engram(t, "recall", "team-a", "disk full", "--filter", "metadata.n == 2", "--half-life", "1h", "--json"))
	if diff := cmp.Diff([]string{"2"}, idsOf(one.Hits)); diff != "" || one.Hits[0].Similarity == 0 {
		t.Errorf("%s %+v", diff, one)
	}
	first := decode[recalled](t, engram(t, "recall", "--prefix", "team-", "disk full", "-k", "3", "--paged", "--json"))
	second := decode[recalled](t, engram(t, "recall", "--prefix", "team-", "disk full", "-k", "3", "--paged", "--cursor", first.Next, "--json"))
	if len(first.Hits) != 3 || len(second.Hits) != 1 || second.Next != "" {
		t.Errorf("%+v, %+v", first, second)
	}
	contains(t, engram(t, "recall", "team-a", "disk full", "-k", "1", "--paged"), "more: --cursor ")
	contains(t, fails(t, exitUsage, "recall", "--prefix", "team-", "--spaces", "team-a", "disk"), "either spaces or prefix")
	contains(t, fails(t, exitUsage, "recall", "--prefix", "team-", "disk", "full"), "put it in quotes")
	contains(t, fails(t, exitUsage, "recall", "team-a", "disk", "--half-life", "-1h"), "--half-life is -1h")
	contains(t, fails(t, exitFailure, "recall", "team-a", "disk", "--filter", "x"), "filter_invalid")
}
