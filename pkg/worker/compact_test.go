package worker

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// Every copy of a shard hears a compaction, and says what it did; what is left is what was there.
func TestEveryCopyIsCompacted(t *testing.T) {
	const rows = 60
	w := newWorld(t)
	keepNothing := func(o *Options) { o.Config.Index.KeepVersions = 0 }
	first := w.start(keepNothing)
	second := w.start(func(o *Options) {
		keepNothing(o)
		o.Config.Name, o.Config.Dir = "w1", t.TempDir()
	})
	events := append([]*api.LogEvent{define("a", 3)}, several(0, rows)...)
	events = append(events, several(0, rows/2)...) // a half of them again
	var last uint64
	for _, more := range [][]*api.LogEvent{events, several(rows, rows+1)} {
		last = w.publish(more...)
		first.reach(t, last)
		second.reach(t, last)
	}
	sub, err := w.conn.NC.SubscribeSync(w.conn.NC.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&api.CompactRequest{Space: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.conn.NC.PublishRequest(bus.ShardSubject(0, bus.VerbCompact), sub.Subject, body); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		msg, err := sub.NextMsgWithContext(within(t))
		if err != nil {
			t.Fatal(err)
		}
		resp := new(api.CompactResponse)
		if err := proto.Unmarshal(msg.Data, resp); err != nil || len(resp.GetCopies()) != 1 {
			t.Fatalf("%v, %v", resp, err)
		}
		c := resp.GetCopies()[0]
		seen[c.GetWorker()] = true
		if c.GetError() != nil || c.GetRowsBefore() != rows+rows/2+1 || c.GetRowsAfter() != rows+1 || c.GetRowsReclaimed() != rows/2 ||
			c.GetLogBytesBefore() == 0 || c.GetLogBytesAfter() == 0 {
			t.Errorf("%v", c)
		}
	}
	if !seen["w0"] || !seen["w1"] {
		t.Errorf("compacted were %v", seen)
	}
	w.expectAll(0, rows+1)
	// What was reclaimed cannot be read any more, and that is said.
	for at, want := range map[string]string{w.position(1 + rows): "gone", w.position(last): ""} {
		for verb, req := range map[string]proto.Message{
			bus.VerbRecall: &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), AsOf: at},
			bus.VerbGet:    &api.GetRequest{Space: "a", Ids: []string{"1"}, AsOf: at},
			bus.VerbList:   &api.ListRequest{Space: "a", AsOf: at},
		} {
			refused := w.refusal(verb, req, new(api.ListResponse))
			if refused.GetCode() != want {
				t.Errorf("%s as of %s: %v, want %q", verb, at, refused, want)
			}
			// In the words of the client, who knows positions and no sequences.
			if text := refused.GetMessage(); refused != nil && !strings.HasPrefix(text, `space "a" cannot be read any more as of position `+at+": ") {
				t.Errorf("%s as of %s: %s", verb, at, text)
			}
		}
	}

	// A copy that cannot says so under its name, for others may.
	resp := new(api.CompactResponse)
	if code := w.ask(bus.VerbCompact, &api.CompactRequest{Space: "nowhere"}, resp); code != "" || resp.GetCopies()[0].GetError().GetCode() != "unknown_space" {
		t.Errorf("a space that is not there: %q %v", code, resp)
	}
	if code := w.ask(bus.VerbCompact, &api.CompactRequest{Space: "No Space"}, resp); code != "invalid_space" {
		t.Errorf("what is no space: %q", code)
	}
}
