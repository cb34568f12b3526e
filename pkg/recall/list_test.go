package recall_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

// page is the answer to a list over HTTP.
type page struct {
	Observations []struct {
		ID       string `json:"id"`
		Position string `json:"position"`
		Text     string `json:"text"`
	} `json:"observations"`
	More    bool   `json:"more"`
	Applied string `json:"applied"`
}

func listPage(t *testing.T, space, query string) page {
	t.Helper()
	status, _, body := call(t, http.MethodGet, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations?"+query, "", "")
	var p page
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return p
}

// Pages over HTTP have everything once, newest first.
func TestPaging(t *testing.T) {
	const n = 25
	space := unique("paging")
	conn := connect(t)
	positions := remember(t, conn, space, circle(n)...)
	var got []string
	before := ""
	for pages := 1; ; pages++ {
		p := listPage(t, space, "limit=10&before="+url.QueryEscape(before))
		for _, o := range p.Observations {
			if o.Position != positions[n-1-len(got)] {
				t.Fatalf("%s is at %s, want %s", o.ID, o.Position, positions[n-1-len(got)])
			}
			got = append(got, o.ID)
		}
		if p.More != (len(got) < n) {
			t.Fatalf("page %d: %d of %d observations, and more is %t", pages, len(got), n, p.More)
		}
		if !p.More {
			break
		}
		before = p.Observations[len(p.Observations)-1].Position
	}
	for i, id := range got {
		if id != fmt.Sprint(n-1-i) {
			t.Fatalf("got %v", got)
		}
	}
	// The default page, and what the protobuf of the same request says.
	if p := listPage(t, space, ""); len(p.Observations) != n || p.More || p.Applied == "" {
		t.Errorf("%+v", p)
	}
	if p := listPage(t, space, "include=none&limit=1"); p.Observations[0].Text != "" {
		t.Errorf("%+v", p)
	}
	resp, err := client.New(conn.NC).List(t.Context(), space, &api.ListRequest{Limit: proto.Uint32(2), Before: positions[5]})
	if err != nil || hitIDs(resp.GetObservations()) != "4 3" || !resp.GetMore() || resp.GetObservations()[0].GetScore() != 0 {
		t.Errorf("%v, %v", resp, err)
	}
	// An empty body is a request, too.
	b, refusal, _ := request(t, conn.NC, wire.JSON, bus.ListSubject(space), nil)
	if refusal != nil || strings.Count(string(b), `"id"`) != n || strings.Contains(string(b), `"score"`) {
		t.Errorf("%s, %v", b, refusal)
	}
}

func TestBadPages(t *testing.T) {
	space := unique("bad-pages")
	conn := connect(t)
	remember(t, conn, space, &api.Observation{Id: "a", Embedding: f32(1)})
	for query, want := range map[string]struct {
		code  wire.Code
		field string
	}{
		"limit=0": {wire.CodeInvalidArgument, "limit"}, "limit=1001": {wire.CodeInvalidArgument, "limit"}, "limit=x": {wire.CodeInvalidArgument, "limit"},
		"limit=-1": {wire.CodeInvalidArgument, "limit"}, "before=x": {wire.CodeInvalidPosition, "before"}, "before=other.0:1": {wire.CodeInvalidPosition, "before"},
		"at_least=x": {wire.CodeInvalidPosition, "at_least"}, "include=vector": {wire.CodeInvalidArgument, "include"},
	} {
		status, _, body := call(t, http.MethodGet, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations?"+query, "", "")
		if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusBadRequest || e.Code != want.code || e.Field != want.field {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	for body, field := range map[string]string{`{"ids":[]}`: "ids", `{}`: "ids", `{"ids":["a"],"include":["x"]}`: "include"} {
		if _, e, status := request(t, conn.NC, wire.JSON, bus.GetSubject(space), []byte(body)); e == nil || status != http.StatusBadRequest || e.Field != field {
			t.Errorf("%s: %d %v", body, status, e)
		}
	}
}

// One observation by its id, whatever that is made of, and its end.
func TestGetAndDelete(t *testing.T) {
	space := unique("get-delete")
	conn := connect(t)
	c := client.New(conn.NC)
	ids := []string{"plain", "with/slash", "a//b", "../up", "with space", "ä", "100%", "?q=1", strings.Repeat("x", 256)}
	var all []*api.Observation
	for i, id := range ids {
		all = append(all, &api.Observation{Id: id, Text: "of " + id, Embedding: f32(1, float32(i))})
	}
	remember(t, conn, space, all...)
	for i, id := range ids {
		path := "/v1/spaces/" + space + "/observations/" + url.PathEscape(id)
		status, header, body := call(t, http.MethodGet, shared.HTTPAddr(), path+"?include=embedding&include=text", "", "")
		var o struct {
			ID, Text  string
			Embedding []float32
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil || status != http.StatusOK || header.Get("Content-Type") != wire.TypeJSON {
			t.Errorf("%q: %d %s", id, status, body)
			continue
		}
		if o.ID != id || o.Text != "of "+id || fmt.Sprint(o.Embedding) != fmt.Sprint([]float32{1, float32(i)}) {
			t.Errorf("%q: %s", id, body)
		}
		// Deleting twice is no error, and recall does not return it any more.
		for range 2 {
			if status, _, body := call(t, http.MethodDelete, shared.HTTPAddr(), path, "", ""); status != http.StatusNoContent || body != "" {
				t.Errorf("deleting %q: %d %s", id, status, body)
			}
		}
		status, _, body = call(t, http.MethodGet, shared.HTTPAddr(), path, "", "")
		if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusNotFound || e.Code != wire.CodeNotFound || e.Field != "id" {
			t.Errorf("%q after its end: %d %s", id, status, body)
		}
		resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(100)})
		if err != nil || len(resp.GetHits()) != len(ids)-1-i {
			t.Fatalf("after %d deletions: %d hits, %v", i+1, len(resp.GetHits()), err)
		}
	}
	// Several at once, those that are there.
	remember(t, conn, space, all[:3]...)
	resp, err := c.Get(t.Context(), space, &api.GetRequest{Ids: []string{"a//b", "never was", "plain"}, Include: []string{"none"}})
	if err != nil || hitIDs(resp.GetObservations()) != "a//b plain" || resp.GetObservations()[0].GetText() != "" {
		t.Errorf("%v, %v", resp, err)
	}
	for _, path := range []string{"/v1/spaces/" + space + "/observations/" + strings.Repeat("x", 257)} {
		if status, _, body := call(t, http.MethodDelete, shared.HTTPAddr(), path, "", ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// What has expired is not returned, and what has not is.
func TestExpiry(t *testing.T) {
	space := unique("expiry")
	conn := connect(t)
	remember(t, conn, space,
		&api.Observation{Id: "past", Embedding: f32(1, 0), ExpiresAt: 1},
		&api.Observation{Id: "future", Embedding: f32(1, 0), ExpiresAt: time.Now().Add(time.Hour).UnixNano()},
		&api.Observation{Id: "never", Embedding: f32(1, 0)},
	)
	resp, err := client.New(conn.NC).Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0)})
	if err != nil || len(resp.GetHits()) != 2 || strings.Contains(hitIDs(resp.GetHits()), "past") {
		t.Errorf("%v, %v", resp, err)
	}
	if p := listPage(t, space, ""); len(p.Observations) != 2 || p.Observations[0].ID != "never" {
		t.Errorf("%+v", p)
	}
}

func TestSpaces(t *testing.T) {
	conn := connect(t)
	a, b := unique("spaces-a"), unique("spaces-b")
	for i, space := range []string{a, b} {
		remember(t, conn, space, circle(3+i)...)
	}
	status, _, body := call(t, http.MethodGet, shared.HTTPAddr(), "/v1/spaces", "", "")
	var all struct {
		Spaces []struct {
			Space        string
			Dimension    int
			Observations int
			Applied      string
		}
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	found := 0
	for i, s := range all.Spaces {
		if i > 0 && s.Space <= all.Spaces[i-1].Space {
			t.Errorf("%s stands behind %s", s.Space, all.Spaces[i-1].Space)
		}
		if s.Space == a || s.Space == b {
			found++
			if want := 2 + found; s.Dimension != 2 || s.Observations != want || s.Applied == "" {
				t.Errorf("%+v", s)
			}
		}
	}
	if found != 2 {
		t.Errorf("%s", body)
	}
	status, _, body = call(t, http.MethodGet, shared.HTTPAddr(), "/v1/spaces/"+b, "", "")
	if status != http.StatusOK || !strings.HasPrefix(body, `{"space":"`+b+`",`) || !strings.Contains(body, `"observations":4`) {
		t.Errorf("%d %s", status, body)
	}
	answer, refusal, _ := request(t, conn.NC, wire.JSON, bus.SpacesSubject, []byte(`{"space":"`+a+`"}`))
	if refusal != nil || strings.Count(string(answer), `"space":`) != 1 {
		t.Errorf("%s, %v", answer, refusal)
	}
	if _, e, status := request(t, conn.NC, wire.JSON, bus.SpacesSubject, []byte(`{"name":"spaces-a"}`)); e == nil || status != http.StatusBadRequest || e.Field != "name" {
		t.Errorf("%d %v", status, e)
	}
}
