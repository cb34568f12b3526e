package recall_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

// ownNode starts a node in a directory, whose logs know a write id for a moment only.
func ownNode(t *testing.T, dir string) *node.Node {
	t.Helper()
	return keepingNode(t, dir, "")
}

// keepingNode is ownNode with a store of snapshots, of which those are taken that somebody asks for.
func keepingNode(t *testing.T, dir, store string) *node.Node {
	t.Helper()
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "", "", "", 1
	cfg.Worker.Snapshot.Store, cfg.Worker.Snapshot.Interval = store, 0
	n, err := node.Start(t.Context(), cfg, zerolog.New(os.Stderr).Level(zerolog.ErrorLevel))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func shorten(t *testing.T, conn *bus.Conn) {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 200 * time.Millisecond
	if _, err := conn.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// holds returns the files below a directory that hold some bytes.
func holds(t *testing.T, dir, what string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(what)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What was forgotten and erased is in no file of the log or of the store any more, and neither a replay of the log from its
// beginning nor what was forgotten beside it differ from before.
func TestForgottenIsErased(t *testing.T) {
	const secret, kept = "the vault opens with forty-two turns", "the vault is in the cellar of the house"
	dir := t.TempDir()
	n := ownNode(t, dir)
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	shorten(t, conn)
	c := client.New(conn.NC)
	remember(t, conn, "notes", &api.Observation{Id: "secret", Text: secret}, &api.Observation{Id: "kept", Text: kept})
	remember(t, conn, "notes", &api.Observation{Id: "secret", Text: secret + ", or so"})
	if len(holds(t, dir, secret)) < 2 {
		t.Fatalf("the log and the store hold it in %q", holds(t, dir, secret))
	}
	ask := &api.ProveRequest{Ids: []string{"secret"}, Traces: [][]byte{[]byte(secret)}, LookOnly: true, Position: forgetSearchable(t, c, "notes", "secret")}
	resp, err := c.Prove(t.Context(), "notes", ask)
	if err != nil || resp.GetProven() || resp.GetErased() != 0 || foundIn(resp, "log") != 2 || foundIn(resp, "row log") != 2 || foundIn(resp, "files") == 0 {
		t.Fatalf("before it was erased: %v, %v", resp, err)
	}
	// Observed once more behind the forget, it is not what was forgotten.
	remember(t, conn, "notes", &api.Observation{Id: "secret", Text: "nothing"})
	ask.LookOnly = false
	if resp, err = c.Prove(t.Context(), "notes", ask); err != nil || !resp.GetProven() || resp.GetErased() != 2 {
		t.Fatalf("%v, %v", resp, err)
	}
	for _, place := range []string{"log", "quarantine", "row log", "index", "columns", "files", "snapshots"} {
		if foundIn(resp, place) != 0 {
			t.Errorf("%s: %v", place, resp)
		}
	}
	if files := holds(t, dir, secret); len(files) > 0 {
		t.Errorf("%q hold it", files)
	}
	if files := holds(t, dir, kept); len(files) < 2 {
		t.Errorf("what was not forgotten is in %q", files)
	}
	want := listed(t, c)
	conn.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if files := holds(t, dir, secret); len(files) > 0 {
		t.Errorf("after the end %q hold it", files)
	}

	// A copy that begins with nothing.
	if err := os.RemoveAll(filepath.Join(dir, "worker")); err != nil {
		t.Fatal(err)
	}
	n = ownNode(t, dir)
	if conn, err = n.Connect("test"); err != nil {
		t.Fatal(err)
	}
	c = client.New(conn.NC)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	last, err := conn.JS.Stream(ctx, bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Await(ctx, map[int]uint64{0: last.CachedInfo().State.LastSeq}); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, c); got != want || got != "secret nothing, kept "+kept {
		t.Errorf("a replay ends with %q, and before it was %q", got, want)
	}

	// The whole space, and then once more.
	drop, err := c.Forget(t.Context(), "notes", &api.ForgetRequest{All: true, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	if err != nil {
		t.Fatal(err)
	}
	for _, erased := range []uint64{2, 0} {
		resp, err = c.Prove(t.Context(), "notes", &api.ProveRequest{All: true, Position: drop.GetPosition(), Traces: [][]byte{[]byte(kept)}})
		if err != nil || !resp.GetProven() || resp.GetErased() != erased {
			t.Errorf("%v, %v", resp, err)
		}
	}
	if files := holds(t, dir, kept); len(files) > 0 {
		t.Errorf("%q hold it", files)
	}
	conn.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// A proof erases nothing but what a forget means, up to that: neither what was never forgotten, nor what a filter does not match,
// nor what was observed again, and a copy that begins with nothing has it afterwards.
func TestWhatLivesIsNotErased(t *testing.T) {
	dir := t.TempDir()
	n := ownNode(t, dir)
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	shorten(t, conn)
	c := client.New(conn.NC)
	red := map[string]*api.Value{"red": {Kind: &api.Value_Bool{Bool: true}}}
	position := remember(t, conn, "notes", &api.Observation{Id: "kept", Text: "kept"}, &api.Observation{Id: "alive", Text: "never forgotten"},
		&api.Observation{Id: "again", Text: "first"}, &api.Observation{Id: "red", Text: "black"})[3]
	remember(t, conn, "notes", &api.Observation{Id: "red", Text: "red", Metadata: red})
	forget := forgetSearchable(t, c, "notes", "again")
	remember(t, conn, "notes", &api.Observation{Id: "again", Text: "second"})
	matching, err := c.Forget(t.Context(), "notes", &api.ForgetRequest{Filter: "metadata.red", Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	if err != nil {
		t.Fatal(err)
	}
	want := listed(t, c)
	for name, tc := range map[string]struct {
		req  *api.ProveRequest
		code wire.Code
	}{
		"never forgotten":          {&api.ProveRequest{Ids: []string{"alive"}}, wire.CodeConflict},
		"one of two":               {&api.ProveRequest{Ids: []string{"again", "alive"}}, wire.CodeConflict},
		"a space":                  {&api.ProveRequest{All: true}, wire.CodeConflict},
		"before its forget":        {&api.ProveRequest{Ids: []string{"again"}, Position: position}, wire.CodeConflict},
		"a filter, and no place":   {&api.ProveRequest{Ids: []string{"red"}}, wire.CodeConflict},
		"a filter of another one":  {&api.ProveRequest{Ids: []string{"red", "alive"}, Position: matching.GetPosition()}, wire.CodeConflict},
		"the place of another one": {&api.ProveRequest{Ids: []string{"red"}, Position: forget}, wire.CodeConflict},
		"a place behind the end":   {&api.ProveRequest{Ids: []string{"again"}, Position: forget + "000"}, wire.CodeInvalidPosition},
	} {
		_, err := c.Prove(t.Context(), "notes", tc.req)
		var refused *wire.Error
		if !errors.As(err, &refused) || refused.Code != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	// To look needs no forget.
	if resp, err := c.Prove(t.Context(), "notes", &api.ProveRequest{Ids: []string{"alive"}, LookOnly: true}); err != nil || resp.GetProven() || foundIn(resp, "log") != 1 {
		t.Errorf("%v, %v", resp, err)
	}
	for _, tc := range []struct {
		req    *api.ProveRequest
		erased uint64
	}{
		{&api.ProveRequest{Ids: []string{"again"}}, 1},
		{&api.ProveRequest{Ids: []string{"red"}, Position: matching.GetPosition()}, 2},
		{&api.ProveRequest{Ids: []string{"red"}, Position: matching.GetPosition()}, 0},
	} {
		if resp, err := c.Prove(t.Context(), "notes", tc.req); err != nil || !resp.GetProven() || resp.GetErased() != tc.erased {
			t.Errorf("%v: %v, %v", tc.req, resp, err)
		}
	}
	conn.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "worker")); err != nil {
		t.Fatal(err)
	}
	n = ownNode(t, dir)
	if conn, err = n.Connect("test"); err != nil {
		t.Fatal(err)
	}
	remember(t, conn, "other", &api.Observation{Id: "later", Text: "later"})
	if got := listed(t, client.New(conn.NC)); got != want || got != "again second, alive never forgotten, kept kept" {
		t.Errorf("a replay ends with %q, and before it was %q", got, want)
	}
	conn.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func foundIn(resp *api.ProveResponse, place string) (n uint64) {
	for _, l := range resp.GetLooked() {
		if l.GetPlace() == place {
			n += l.GetFound()
		}
	}
	return n
}

// listed is what the space has.
func listed(t *testing.T, c *client.Client) string {
	t.Helper()
	resp, err := c.List(t.Context(), "notes", &api.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range resp.GetObservations() {
		all = append(all, h.GetId()+" "+h.GetText())
	}
	return strings.Join(all, ", ")
}

// What is forgotten is found in snapshots from before, wherever they are, and not any more when they have gone.
func TestForgottenIsInSnapshots(t *testing.T) {
	for _, store := range []string{"dir:" + t.TempDir(), "bucket"} {
		t.Run(store, func(t *testing.T) {
			n := keepingNode(t, t.TempDir(), store)
			defer func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}()
			conn, err := n.Connect("test")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			shorten(t, conn)
			c := client.New(conn.NC)
			remember(t, conn, "notes", &api.Observation{Id: "secret", Text: "the vault opens"}, &api.Observation{Id: "kept", Text: "the vault is closed"})
			snapshots := func(keep uint32) {
				t.Helper()
				body, err := proto.Marshal(&api.SnapshotRequest{Keep: keep})
				if err != nil {
					t.Fatal(err)
				}
				msg, err := conn.NC.RequestWithContext(t.Context(), bus.ShardSubject(0, bus.VerbSnapshot), body)
				if err != nil || msg.Header.Get("Nats-Service-Error") != "" {
					t.Fatalf("%v, %v", msg, err)
				}
			}
			snapshots(0)
			ask := &api.ProveRequest{Ids: []string{"secret"}, Position: forgetSearchable(t, c, "notes", "secret")}
			remember(t, conn, "notes", &api.Observation{Id: "secret", Text: "nothing"})
			resp, err := c.Prove(t.Context(), "notes", ask)
			if err != nil || resp.GetProven() || foundIn(resp, "snapshots") != 1 || foundIn(resp, "row log") != 0 {
				t.Fatalf("with a snapshot from before: %v, %v", resp, err)
			}
			snapshots(1)
			if resp, err = c.Prove(t.Context(), "notes", ask); err != nil || !resp.GetProven() || foundIn(resp, "snapshots") != 0 {
				t.Fatalf("without: %v, %v", resp, err)
			}
		})
	}
}
