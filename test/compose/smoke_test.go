//go:build compose

// Package compose asks an Engram that docker-compose.yml runs, from outside of it. "task compose:local" starts one, "task
// compose:smoke" runs these tests.
package compose

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
)

func TestSmoke(t *testing.T) {
	d := healthy(t)
	t.Run("containers", d.containers)
	t.Run("streams", d.streams)
	t.Run("nobody", d.nobody)
	t.Run("HTTP", d.http)
	t.Run("NATS", d.nats)
}

// newSpace is one that no other run has.
func newSpace() string { return "smoke-" + strings.ToLower(rand.Text()[:12]) }

// ask sends a request over HTTP with a token, none where it is empty, and decodes the answer into to where that is not nil.
func ask(t *testing.T, token, method, url, body string, to any) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if to != nil {
		if err := json.Unmarshal(b, to); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s, %v", method, url, resp.StatusCode, b, err)
		}
	}
	return resp.StatusCode
}

func token(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(secret("admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(b))
}

// spaceURL is the address of a space at a gateway or a recall API.
func (d deployment) spaceURL(t *testing.T, service, space string) string {
	t.Helper()
	return "http://" + d.published(t, service, "8080") + "/v1/spaces/" + space
}

type answer struct {
	Results []struct {
		ID, Position string
		Searchable   bool
	}
	Hits []struct{ ID, Text string }
}

// What is observed through one gateway is found through the recall API of another container, over HTTP.
func (d deployment) http(t *testing.T) {
	token, space := token(t), newSpace()
	texts := []string{"the door of the archive sticks", "the lift is out of order", "the canteen has soup", "the backup runs at midnight"}
	last := ""
	for i, gateway := range services()["ingest-gateway"] {
		observe := d.spaceURL(t, gateway, space) + "/observations"
		for j, text := range texts {
			body := fmt.Sprintf(`{"observations": [{"id": "%d-%d", "text": "%s, says gateway %d"}], "acknowledgement": "searchable"}`, i, j, text, i)
			var done answer
			ask(t, token, http.MethodPost, observe, body, &done)
			if len(done.Results) != 1 || !done.Results[0].Searchable || done.Results[0].Position == "" {
				t.Fatalf("%s answers %+v", gateway, done)
			}
			last = done.Results[0].Position
		}
	}
	for _, recall := range services()["recall-api"] {
		for i := range services()["ingest-gateway"] {
			for j, text := range texts {
				var got answer
				// Searchable was one copy; another one may answer, and waits for the last position. The image has no file of time zones.
				body := fmt.Sprintf(`{"text": "%s, says gateway %d", "k": 1, "at_least": "%s", "filter": "time.getHours('Asia/Tokyo') >= 0"}`, text, i, last)
				ask(t, token, http.MethodPost, d.spaceURL(t, recall, space)+"/recall", body, &got)
				if want := fmt.Sprintf("%d-%d", i, j); len(got.Hits) != 1 || got.Hits[0].ID != want {
					t.Errorf("%s finds %+v for %q, want %s", recall, got.Hits, text, want)
				}
			}
		}
	}
}

// Nobody gets in without a token or a key.
func (d deployment) nobody(t *testing.T) {
	for _, service := range append(services()["ingest-gateway"], services()["recall-api"]...) {
		for _, bad := range []string{"", strings.Repeat("x", len(token(t)))} {
			if status := ask(t, bad, http.MethodPost, d.spaceURL(t, service, "notes")+"/recall", `{"text": "x"}`, nil); status != http.StatusUnauthorized {
				t.Errorf("%s answers %d to the token %q", service, status, bad)
			}
		}
	}
	for _, server := range services()["nats"] {
		if c, err := bus.Connect(bus.Config{URL: "nats://" + d.published(t, server, "4222"), FailFast: true}); err == nil {
			c.Close()
			t.Errorf("%s lets everybody in", server)
		}
	}
}

// What is observed over NATS at one server is found at another.
func (d deployment) nats(t *testing.T) {
	space := newSpace()
	var want []*api.Observation
	for i := range 200 {
		want = append(want, &api.Observation{Id: fmt.Sprint("o", i), Text: fmt.Sprintf("the sensor %d of the hall reads %d degrees", i, i*i%97)})
	}
	resp, err := client.New(d.login(t, "nats-1", "admin").NC).Observe(t.Context(), space, &api.ObserveRequest{
		Observations: want, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetResults() {
		if r.GetError() != nil || !r.GetSearchable() {
			t.Fatalf("observing: %v", r)
		}
	}
	results := resp.GetResults()
	for _, server := range services()["nats"] {
		c := client.New(d.login(t, server, "admin").NC)
		got, err := c.Recall(t.Context(), space, &api.RecallRequest{Text: "sensor of the hall", K: proto.Uint32(uint32(len(want))), AtLeast: results[len(results)-1].GetPosition()})
		if err != nil {
			t.Fatalf("%s: %v", server, err)
		}
		seen := map[string]bool{}
		for _, h := range got.GetHits() {
			seen[h.GetId()] = true
		}
		if len(got.GetHits()) != len(want) || len(seen) != len(want) {
			t.Errorf("%s: %d hits, %d of them different, want %d", server, len(got.GetHits()), len(seen), len(want))
		}
	}
}

// Every stream has a copy on all three servers, and none of the copies is behind for good.
func (d deployment) streams(t *testing.T) {
	js := d.login(t, "nats-1", "recall").JS // which may list them
	var streams []string
	list := js.StreamNames(t.Context())
	for name := range list.Name() {
		streams = append(streams, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{bus.LogStream(0), bus.QuarantineStream, "KV_" + bus.MetaBucket, "KV_" + bus.SpacesBucket} {
		if !slices.Contains(streams, want) {
			t.Errorf("%s is not among %q", want, streams)
		}
	}
	for _, name := range streams {
		eventually(t, func() error {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				return err
			}
			return copies(s.CachedInfo())
		})
	}
}

func copies(info *jetstream.StreamInfo) error {
	if info.Config.Replicas != 3 || info.Config.Storage != jetstream.FileStorage || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
		return fmt.Errorf("%s has %d replicas, kept as %v, and the cluster %+v", info.Config.Name, info.Config.Replicas, info.Config.Storage, info.Cluster)
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline {
			return fmt.Errorf("the copy of %s on %s is current %v, offline %v, behind by %d", info.Config.Name, r.Name, r.Current, r.Offline, r.Lag)
		}
	}
	return nil
}
