package recall_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

// Pages that are read as of one position have every observation as it was then, once, whatever is written meanwhile.
func TestPagesOfThePast(t *testing.T) {
	const n = 20
	space := unique("past-pages")
	conn := connect(t)
	remember(t, conn, space, circle(n)...)
	first := listPage(t, space, "limit=6")
	var got []string
	for p := first; ; {
		for _, o := range p.Observations {
			got = append(got, o.ID+" "+o.Text)
		}
		if !p.More {
			break
		}
		before := p.Observations[len(p.Observations)-1].Position
		// One that is to come moves to the front, one is forgotten, one is new.
		remember(t, conn, space, &api.Observation{Id: "3", Text: "again", Embedding: f32(1, 0)}, &api.Observation{Id: "new", Embedding: f32(1, 0)})
		if _, err := client.New(conn.NC).Forget(t.Context(), space, &api.ForgetRequest{
			Ids: []string{"5"}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
		}); err != nil {
			t.Fatal(err)
		}
		p = listPage(t, space, "limit=6&before="+url.QueryEscape(before)+"&as_of="+url.QueryEscape(first.Applied))
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(n-1-i, " ", circle(n)[n-1-i].GetText()))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the pages have\n%q, want\n%q", got, want)
	}

	// One of them, and a recall, by HTTP and by the client.
	path := "/v1/spaces/" + space + "/observations/5"
	if status, _, body := call(t, http.MethodGet, shared.HTTPAddr(), path, "", ""); status != http.StatusNotFound {
		t.Errorf("what was forgotten, now: %d %s", status, body)
	}
	if status, _, body := call(t, http.MethodGet, shared.HTTPAddr(), path+"?as_of="+url.QueryEscape(first.Applied), "", ""); status != http.StatusOK || !strings.Contains(body, `"id":"5"`) {
		t.Errorf("what was forgotten, then: %d %s", status, body)
	}
	body := fmt.Sprintf(`{"embedding":[1,0],"k":1000,"recall":"exact","as_of":%q}`, first.Applied)
	status, _, answer := call(t, http.MethodPost, shared.HTTPAddr(), "/v1/spaces/"+space+"/recall", "", body)
	if status != http.StatusOK || strings.Count(answer, `"score"`) != n || strings.Contains(answer, `"again"`) || !strings.Contains(answer, `"exact":true`) {
		t.Errorf("%d %s", status, answer)
	}
	c := client.New(conn.NC)
	if resp, err := c.Get(t.Context(), space, &api.GetRequest{Ids: []string{"3", "5", "new"}, AsOf: first.Applied}); err != nil || hitIDs(resp.GetObservations()) != "3 5" {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestRecallTargets(t *testing.T) {
	space := unique("targets")
	conn := connect(t)
	c := client.New(conn.NC)
	remember(t, conn, space, circle(12)...)
	for _, q := range []*api.RecallRequest{
		{Recall: api.RecallTarget_RECALL_TARGET_FAST}, {Recall: api.RecallTarget_RECALL_TARGET_BALANCED, Ef: proto.Uint32(1)},
		{Recall: api.RecallTarget_RECALL_TARGET_EXACT}, {Ef: proto.Uint32(10_000)},
	} {
		q.Embedding = f32(1, 0.1)
		// A space as small as this is always scanned.
		if resp, err := c.Recall(t.Context(), space, q); err != nil || len(resp.GetHits()) != 10 || !resp.GetExact() || resp.GetSearched() != 12 {
			t.Errorf("%v: %v, %v", q, resp, err)
		}
	}
	for field, q := range map[string]*api.RecallRequest{
		"ef": {Ef: proto.Uint32(10_001)}, "recall": {Recall: 9}, "as_of": {AsOf: "yesterday"},
	} {
		q.Embedding = f32(1, 0)
		var e *wire.Error
		if _, err := c.Recall(t.Context(), space, q); !errors.As(err, &e) || e.Field != field || e.Status() != http.StatusBadRequest {
			t.Errorf("%s: %v", field, err)
		}
	}
	// A text is embedded on the way, and the rest of the request stays as it was.
	words := unique("targets-text")
	position := remember(t, conn, words, &api.Observation{Id: "a", Text: "the cache is cold"})[0]
	remember(t, conn, words, &api.Observation{Id: "b", Text: "the cache is warm"})
	resp, err := c.Recall(t.Context(), words, &api.RecallRequest{Text: "cache", AsOf: position, Recall: api.RecallTarget_RECALL_TARGET_FAST})
	if err != nil || hitIDs(resp.GetHits()) != "a" {
		t.Errorf("%v, %v", resp, err)
	}
}
