package recall_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/recall"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestFilteredRecall(t *testing.T) {
	space := unique("filtered")
	conn := connect(t)
	remember(t, conn, space, circle(20)...)
	c := client.New(conn.NC)
	for expression, want := range map[string]string{
		`metadata.n < 3`:                         "0 1 2",
		`metadata.n in [4, 7] || id == "1"`:      "1 4 7",
		`has(metadata.m) || metadata["n"] == 11`: "11",
		`!(metadata.m > 1)`:                      "",
		`importance > 0.4 && sequence >= 19`:     "18 19",
		`time < timestamp("1970-01-01T00:00:01Z") && session == "s" && priority == "high" && metadata.n == 5.0`: "5",
		`observed_at >= timestamp("2020-01-01T00:00:00Z")`:                                                      "",
		`metadata.exists(k, k == "n") && id.matches("^1[0-2]$")`:                                                "10 11 12",
	} {
		for _, target := range []api.RecallTarget{api.RecallTarget_RECALL_TARGET_BALANCED, api.RecallTarget_RECALL_TARGET_EXACT} {
			resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0.01), K: proto.Uint32(1000), Filter: expression, Recall: target})
			if err != nil || sorted(hitIDs(resp.GetHits())) != sorted(want) {
				t.Errorf("%s: %q, %v; want %q", expression, hitIDs(resp.GetHits()), err, want)
			}
		}
		page := listPage(t, space, "limit=1000&order=oldest&filter="+url.QueryEscape(expression))
		var ids []string
		for _, o := range page.Observations {
			ids = append(ids, o.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("a list with %s: %q, want %q", expression, got, want)
		}
	}
	for expression, code := range map[string]wire.Code{
		`metadata.n >`: wire.CodeFilterInvalid, `nobody == 1`: wire.CodeFilterInvalid, `1 + 1`: wire.CodeFilterInvalid,
		`importance == "x"`: wire.CodeFilterInvalid, strings.Repeat("x", 5000): wire.CodeFilterInvalid,
		`[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a+b+c+d > 0))))`:    wire.CodeFilterCostly,
		`[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d, a+b)))).size() > 0`: wire.CodeFilterCostly,
	} {
		_, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), Filter: expression})
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != code || e.Field != "filter" {
			t.Errorf("%.60s: %v", expression, err)
		}
		_, err = c.Forget(t.Context(), space, &api.ForgetRequest{Filter: expression, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
		if !errors.As(err, &e) || e.Code != code || e.Field != "filter" {
			t.Errorf("a forget with %.60s: %v", expression, err)
		}
		body, _ := wire.EncodeForgetRequest(wire.JSON, &api.ForgetRequest{Filter: expression, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
		if status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/forget", "", string(body)); status != wire.Codes()[code] {
			t.Errorf("over HTTP: %d %s", status, text)
		}
	}
}

func sorted(ids string) string {
	all := strings.Fields(ids)
	for i := range all {
		all[i] = fmt.Sprintf("%3s", all[i])
	}
	return strings.Join(sortedStrings(all), "")
}

// A forget by filter means what stands in the log before it, and nothing behind it, whatever overtakes; a retry of a write
// that was forgotten does not bring it back.
func TestForgetByFilter(t *testing.T) {
	space := unique("forget-filter")
	conn := connect(t)
	c := client.New(conn.NC)
	remember(t, conn, space, circle(30)...)
	late := &api.ObserveRequest{
		Observations:   []*api.Observation{{Id: "late", Embedding: f32(1, 0), Metadata: map[string]*api.Value{"n": {Kind: &api.Value_Number{Number: 3}}}}},
		IdempotencyKey: "late-write", Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
	}
	if _, err := c.Observe(t.Context(), space, late); err != nil {
		t.Fatal(err)
	}
	status, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/forget", "",
		`{"filter":"metadata.n >= 2","acknowledgement":"searchable"}`)
	if status != http.StatusOK || !strings.Contains(text, `"searchable":true`) {
		t.Fatalf("%d %s", status, text)
	}
	remember(t, conn, space, &api.Observation{Id: "5", Text: "again", Embedding: f32(1, 0), Metadata: map[string]*api.Value{"n": {Kind: &api.Value_Number{Number: 5}}}})
	resp, err := c.Observe(t.Context(), space, late)
	if err != nil || !resp.GetResults()[0].GetDuplicate() {
		t.Fatalf("the late retry: %v, %v", resp, err)
	}
	for range 2 {
		got, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(100)})
		if err != nil || sorted(hitIDs(got.GetHits())) != sorted("0 1 5") {
			t.Errorf("%q, %v", hitIDs(got.GetHits()), err)
		}
	}
	// Nothing that matches is no error.
	if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{Filter: `id == "nobody"`, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}); err != nil {
		t.Error(err)
	}
}

func TestListByTimeAndOrder(t *testing.T) {
	const n = 30
	space := unique("orders")
	conn := connect(t)
	var all []*api.Observation
	for i := range n {
		all = append(all, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i)), ObservedAt: int64((i*7%n)/2) * int64(time.Hour)})
	}
	remember(t, conn, space, all...)
	c := client.New(conn.NC)
	for order, less := range map[api.ListOrder]func(a, b *api.Hit) bool{
		api.ListOrder_LIST_ORDER_NEWEST: func(a, b *api.Hit) bool { return seq(a) > seq(b) },
		api.ListOrder_LIST_ORDER_OLDEST: func(a, b *api.Hit) bool { return seq(a) < seq(b) },
		api.ListOrder_LIST_ORDER_LATEST: func(a, b *api.Hit) bool {
			return a.GetObservedAt() > b.GetObservedAt() || a.GetObservedAt() == b.GetObservedAt() && seq(a) > seq(b)
		},
		api.ListOrder_LIST_ORDER_EARLIEST: func(a, b *api.Hit) bool {
			return a.GetObservedAt() < b.GetObservedAt() || a.GetObservedAt() == b.GetObservedAt() && seq(a) < seq(b)
		},
	} {
		req := &api.ListRequest{Order: order, Limit: proto.Uint32(4), From: proto.Int64(int64(2 * time.Hour)), To: proto.Int64(int64(11 * time.Hour)), Filter: `id != "4"`}
		var got []*api.Hit
		for {
			resp, err := c.List(t.Context(), space, req)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, resp.GetObservations()...)
			if resp.GetMore() != (resp.GetNext() != "") || resp.GetSearched() == 0 || !resp.GetExact() {
				t.Errorf("%v", resp)
			}
			if req.Cursor = resp.GetNext(); req.Cursor == "" {
				break
			}
			// What comes and goes meanwhile is not in these pages.
			remember(t, conn, space, &api.Observation{Id: fmt.Sprint("new", len(got)), Embedding: f32(1, 0), ObservedAt: int64(5 * time.Hour)})
			forgetSearchable(t, c, space, "11")
		}
		want := 0
		for _, o := range all {
			if h := o.GetObservedAt() / int64(time.Hour); h >= 2 && h < 11 && o.GetId() != "4" {
				want++
			}
		}
		for i := range got {
			if i > 0 && !less(got[i-1], got[i]) {
				t.Errorf("%v: %s comes before %s", order, got[i-1].GetId(), got[i].GetId())
			}
		}
		if len(got) != want {
			t.Errorf("%v: %d observations in %s, want %d", order, len(got), hitIDs(got), want)
		}
		remember(t, conn, space, all[11])
		if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{Filter: `id.startsWith("new")`, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}); err != nil {
			t.Fatal(err)
		}
	}
	for cursor, code := range map[string]wire.Code{"nonsense": wire.CodeInvalidCursor, "AAAA": wire.CodeInvalidCursor} {
		var e *wire.Error
		if _, err := c.List(t.Context(), space, &api.ListRequest{Cursor: cursor}); !errors.As(err, &e) || e.Code != code {
			t.Errorf("%q: %v", cursor, err)
		}
	}
}

func forgetSearchable(t *testing.T, c *client.Client, space string, ids ...string) string {
	t.Helper()
	resp, err := c.Forget(t.Context(), space, &api.ForgetRequest{Ids: ids, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetPosition()
}

// Pages of a recall are one answer, whatever comes and goes meanwhile, also among hits of one score, and with a half-life.
func TestPagesOfARecall(t *testing.T) {
	const n = 40
	space := unique("recall-pages")
	conn := connect(t)
	var all []*api.Observation
	for i := range n {
		all = append(all, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i/5)), ObservedAt: time.Now().Add(-time.Duration(i*13%n) * time.Hour).UnixNano()})
	}
	remember(t, conn, space, all...)
	c := client.New(conn.NC)
	for _, half := range []uint64{0, 3_600_000} {
		whole, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(n), HalfLifeMs: half, Paged: true})
		if err != nil || whole.GetNext() != "" || len(whole.GetHits()) != n {
			t.Fatalf("%v, %v", whole, err)
		}
		var got []*api.Hit
		req := &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(7), HalfLifeMs: half, Paged: true}
		for {
			resp, err := c.Recall(t.Context(), space, req)
			if err != nil || !resp.GetExact() {
				t.Fatalf("%v, %v", resp, err)
			}
			got = append(got, resp.GetHits()...)
			if req.Cursor = resp.GetNext(); req.Cursor == "" {
				break
			}
			remember(t, conn, space, &api.Observation{Id: fmt.Sprint("new", len(got)), Embedding: f32(1, 0)})
			forgetSearchable(t, c, space, fmt.Sprint(n-1))
		}
		if hitIDs(got) != hitIDs(whole.GetHits()) {
			t.Errorf("half-life %d: the pages have\n%s\nand the whole\n%s", half, hitIDs(got), hitIDs(whole.GetHits()))
		}
		remember(t, conn, space, all[n-1])
		if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{Filter: `id.startsWith("new")`, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}); err != nil {
			t.Fatal(err)
		}
	}
	// A cursor is of its request.
	first, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(7), Paged: true})
	if err != nil {
		t.Fatal(err)
	}
	var e *wire.Error
	_, err = c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), Cursor: first.GetNext(), Filter: "true"})
	if !errors.As(err, &e) || e.Code != wire.CodeInvalidCursor {
		t.Errorf("%v", err)
	}
	// What was reclaimed since is gone.
	forgetSearchable(t, c, space, "3")
	if _, err := c.Compact(t.Context(), space, &api.CompactRequest{Erase: true}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), Cursor: first.GetNext()})
	if !errors.As(err, &e) || e.Code != wire.CodeGone || e.Field != "cursor" || e.Status() != http.StatusGone {
		t.Errorf("%v", err)
	}
}

// The score with a half-life is the documented one, and the best by it are found though they are far from the best by metric.
func TestHalfLife(t *testing.T) {
	conn := connect(t)
	c := client.New(conn.NC)
	for _, metric := range []api.Metric{api.Metric_METRIC_COSINE, api.Metric_METRIC_DOT, api.Metric_METRIC_L2} {
		space := unique("half-life")
		if _, err := c.Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(2), Metric: metric, Embedder: "none"}); err != nil {
			t.Fatal(err)
		}
		const n = 300
		var all []*api.Observation
		for i := range n { // the nearest are the oldest
			all = append(all, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i)/n), ObservedAt: time.Now().Add(-time.Duration(n-i) * time.Hour).UnixNano()})
		}
		remember(t, conn, space, all...)
		resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0), K: proto.Uint32(3), HalfLifeMs: uint64(time.Hour.Milliseconds())})
		if err != nil || hitIDs(resp.GetHits()) != fmt.Sprintf("%d %d %d", n-1, n-2, n-3) || !resp.GetExact() {
			t.Fatalf("%v: %v, %v", metric, resp, err)
		}
		for i, h := range resp.GetHits() {
			want := similarity(metric, h.GetSimilarity()) / float64(int(2)<<i)
			if d := float64(h.GetScore()) - want; d > 1e-3 || d < -1e-3 {
				t.Errorf("%v: hit %d has score %v, want %v", metric, i, h.GetScore(), want)
			}
		}
	}
}

// routerOf returns a router of its own on a connection.
func routerOf(t *testing.T, conn *bus.Conn) *recall.Router {
	t.Helper()
	topology, _, err := bus.EnsureTopology(t.Context(), conn.JS, bus.TopologyConfig{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	defs, err := registry.Open(t.Context(), conn.JS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := defs.Close(); err != nil {
			t.Error(err)
		}
	})
	return recall.New(recall.Options{Conn: conn.NC, Topology: topology, Registry: defs, Embedders: embed.NewSet(embed.NewLexical()), Logger: zerolog.Nop(), Version: "0.0.1"})
}

func TestRecallOfSeveralSpaces(t *testing.T) {
	prefix := unique("many") + "-"
	conn := connect(t)
	c := client.New(conn.NC)
	var names []string
	for s := range 5 {
		name := prefix + string(rune('a'+s))
		names = append(names, name)
		var all []*api.Observation
		for i := range 6 {
			all = append(all, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i*5+s)/10), ObservedAt: time.Now().UnixNano()})
		}
		remember(t, conn, name, all...)
	}
	resp, err := c.RecallMany(t.Context(), &api.RecallRequest{Embedding: f32(1, 0), Prefix: prefix, K: proto.Uint32(7)})
	if err != nil || spacesOf(resp.GetHits(), prefix) != "a0 b0 c0 d0 e0 a1 b1" || !resp.GetExact() || len(resp.GetSpaces()) != 5 || resp.GetSearched() != 30 {
		t.Errorf("%v, %v", resp, err)
	}
	// Pages, by spaces, with hits of equal scores.
	twin := prefix + "twin"
	remember(t, conn, twin, &api.Observation{Id: "0", Embedding: f32(1, 0)}, &api.Observation{Id: "1", Embedding: f32(1, 0)}, &api.Observation{Id: "2", Embedding: f32(1, 0.5)})
	for _, half := range []uint64{0, 1000} {
		whole, err := c.RecallMany(t.Context(), &api.RecallRequest{Embedding: f32(1, 0), Spaces: append([]string{twin}, names...), K: proto.Uint32(100), Paged: true, HalfLifeMs: half})
		if err != nil || len(whole.GetHits()) != 33 {
			t.Fatalf("%v, %v", whole, err)
		}
		var got []*api.Hit
		for req := (&api.RecallRequest{Embedding: f32(1, 0), Spaces: append([]string{twin}, names...), K: proto.Uint32(4), Paged: true, HalfLifeMs: half}); ; {
			resp, err := c.RecallMany(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, resp.GetHits()...)
			if req.Cursor = resp.GetNext(); req.Cursor == "" {
				break
			}
			remember(t, conn, names[0], &api.Observation{Id: fmt.Sprint("new", len(got)), Embedding: f32(1, 0)})
		}
		if a, b := spacesOf(got, prefix), spacesOf(whole.GetHits(), prefix); a != b && half == 0 || len(got) != len(whole.GetHits()) {
			t.Errorf("half-life %d: the pages have\n%s\nand the whole\n%s", half, a, b)
		}
		if _, err := c.Forget(t.Context(), names[0], &api.ForgetRequest{Filter: `id.startsWith("new")`, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}); err != nil {
			t.Fatal(err)
		}
	}
	// One that is not there is said, and the others answer.
	resp, err = c.RecallMany(t.Context(), &api.RecallRequest{Embedding: f32(1, 0), Spaces: []string{names[1], prefix + "nobody"}})
	if err != nil || len(resp.GetHits()) != 6 || resp.GetExact() || resp.GetSpaces()[1].GetError().GetCode() != string(wire.CodeUnknownSpace) {
		t.Errorf("%v, %v", resp, err)
	}
	other := prefix + "other"
	remember(t, conn, other, &api.Observation{Id: "0", Embedding: f32(1, 0, 0)})
	for name, b := range map[string]struct {
		req  *api.RecallRequest
		code wire.Code
	}{
		"dimensions":  {&api.RecallRequest{Embedding: f32(1, 0), Spaces: []string{names[0], other}}, wire.CodeIncompatible},
		"none":        {&api.RecallRequest{Embedding: f32(1, 0)}, wire.CodeInvalidSpace},
		"both":        {&api.RecallRequest{Embedding: f32(1, 0), Spaces: names, Prefix: prefix}, wire.CodeInvalidSpace},
		"bad name":    {&api.RecallRequest{Embedding: f32(1, 0), Spaces: []string{"Upper"}}, wire.CodeInvalidSpace},
		"nobody":      {&api.RecallRequest{Embedding: f32(1, 0), Prefix: prefix + "nobody"}, wire.CodeUnknownSpace},
		"all unknown": {&api.RecallRequest{Embedding: f32(1, 0), Spaces: []string{prefix + "nobody"}}, wire.CodeUnknownSpace},
		"id":          {&api.RecallRequest{Id: "0", Spaces: names}, wire.CodeInvalidArgument},
		"filter":      {&api.RecallRequest{Embedding: f32(1, 0), Spaces: names, Filter: "x"}, wire.CodeFilterInvalid},
	} {
		body, _ := wire.EncodeRecallRequest(wire.JSON, b.req)
		_, e, status := request(t, conn.NC, wire.JSON, bus.RecallManySubject, body)
		if e == nil || e.Code != b.code {
			t.Errorf("%s: %v", name, e)
		}
		if got, _, text := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/recall", "", string(body)); got != status {
			t.Errorf("%s over HTTP: %d %s", name, got, text)
		}
	}
	// What answers behind an earlier answer waits for the position of each space in it, and not for those of others.
	resp, err = c.RecallMany(t.Context(), &api.RecallRequest{Embedding: f32(1, 0), Spaces: names[:2]})
	if err != nil {
		t.Fatal(err)
	}
	earlier := resp.GetSpaces()
	router, ctx := routerOf(t, conn), auth.NewContext(t.Context(), auth.Everyone())
	for _, half := range []uint64{0, 1000} {
		req := &api.RecallRequest{Embedding: f32(1, 0), Spaces: names[:2], DeadlineMs: 50, HalfLifeMs: half}
		if resp, err := router.RecallMany(ctx, req, earlier...); err != nil || resp.GetSpaces()[0].GetError() != nil || resp.GetSpaces()[1].GetError() != nil {
			t.Errorf("%v, %v", resp, err)
		}
		ahead := proto.CloneOf(earlier[1])
		ahead.Applied += "000" // far behind the end of the log
		resp, err := router.RecallMany(ctx, req, earlier[0], ahead)
		if err != nil || resp.GetSpaces()[0].GetError() != nil || resp.GetSpaces()[1].GetError().GetCode() != string(wire.CodeDeadline) {
			t.Errorf("half-life %d: %v, %v", half, resp, err)
		}
		req.AsOf = earlier[1].GetApplied()
		req.Spaces = names[1:2]
		if resp, err := router.RecallMany(ctx, req, ahead); err != nil || resp.GetSpaces()[0].GetError() != nil {
			t.Errorf("as of a position: %v, %v", resp, err)
		}
	}
	// The subject of one space is for that one.
	body, _ := wire.EncodeRecallRequest(wire.JSON, &api.RecallRequest{Embedding: f32(1, 0), Spaces: names[:1]})
	if _, e, _ := request(t, conn.NC, wire.JSON, bus.RecallSubject(names[0]), body); e == nil || e.Code != wire.CodeInvalidSpace {
		t.Errorf("%v", e)
	}
}
