package gateway_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
)

// Two gateways, and first observations of two dimensions at the same moment: one dimension wins, the observations of the
// other are refused, and the log agrees with the answers.
func TestFirstObservationsRace(t *testing.T) {
	a, b := connect(t), connect(t)
	gateways := []*gateway.Gateway{core(t, a, nil), core(t, b, nil)}
	winners := map[int]int{}
	for round := range 4 {
		space := unique("race")
		pending := map[int][]<-chan answer{}
		for i := range 50 {
			dim := 3 + (i+round)%2
			// Each gateway begins with a dimension of its own.
			g := gateways[(i+i/2%2)%2]
			pending[dim] = append(pending[dim], observe(g, space, one(&api.Observation{Id: fmt.Sprint(i), Embedding: f32(make1(dim)...)})))
		}
		accepted := map[int]int{}
		for dim, all := range pending {
			for _, c := range all {
				switch got := <-c; {
				case got.refused == nil:
					accepted[dim]++
				case got.refused.Code != wire.CodeWrongDimension || got.refused.Field != "embedding":
					t.Errorf("%s, dimension %d: %v", space, dim, got.refused)
				}
			}
		}
		winner := 3
		if accepted[4] > 0 {
			winner = 4
		}
		if len(accepted) != 1 || accepted[winner] != 25 {
			t.Fatalf("%s: accepted by dimension %v", space, accepted)
		}
		winners[winner]++
		observed, defined := 0, 0
		for _, m := range logged(t, a.JS, space) {
			ev := new(api.LogEvent)
			if err := proto.Unmarshal(m.Data(), ev); err != nil {
				t.Fatal(err)
			}
			switch e := ev.GetEvent().(type) {
			case *api.LogEvent_Define:
				if defined++; int(e.Define.GetDimension()) != winner || observed > 0 && defined == 1 {
					t.Errorf("%s: after %d observations, %v", space, observed, e.Define)
				}
			case *api.LogEvent_Observe:
				if observed++; len(e.Observe.GetEmbedding().GetData()) != 4*winner || defined == 0 {
					t.Errorf("%s: before its definition, or of another dimension: %v", space, e.Observe)
				}
			}
		}
		if observed != 25 || defined != 1 {
			t.Errorf("%s: %d observations and %d definitions in the log", space, observed, defined)
		}
	}
	t.Logf("winners by dimension: %v", winners)
}

func make1(dim int) []float32 {
	v := make([]float32, dim)
	v[0] = 1
	return v
}

// Requests that make a space together answer each for its own observation.
func TestBadFirstObservationHurtsNobodyElse(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, nil)
	space := unique("bad-first")
	var good, bad []<-chan answer
	for i := range 40 {
		if i%2 == 0 {
			bad = append(bad, observe(g, space, one(&api.Observation{Embedding: f32(float32(math.NaN()), 1)})))
		} else {
			good = append(good, observe(g, space, one(&api.Observation{Embedding: f32(1, 2)})))
		}
	}
	for _, c := range good {
		must(t, c)
	}
	for _, c := range bad {
		if a := <-c; a.refused == nil || a.refused.Code != wire.CodeInvalidEmbedding {
			t.Errorf("NaN: %v, %v", a.resp, a.refused)
		}
	}
}

// A first request that does not fit itself makes no space.
func TestFirstRequestIsCheckedWhole(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, nil)
	before := lastSequences(t, conn.JS)
	for name, second := range map[string]*api.Observation{
		"another dimension": {Embedding: f32(1)}, "no words": {Text: "?"},
	} {
		a := <-observe(g, unique("first-whole"), &api.ObserveRequest{Observations: []*api.Observation{{Embedding: f32(1, 2)}, second}})
		if a.refused == nil {
			t.Errorf("%s: taken as %v", name, a.resp)
		}
	}
	if after := lastSequences(t, conn.JS); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

// Text is embedded by the definition that holds, not by the one that the request would have made.
func TestTextFitsTheSpaceThatIsThere(t *testing.T) {
	a, b := connect(t), connect(t)
	small := core(t, a, func(c *gateway.Config) { c.Space.Dimension = 16 })
	large := core(t, b, func(c *gateway.Config) { c.Space.Dimension = 64 })
	for range 3 {
		space := unique("text-race")
		var pending []<-chan answer
		for range 10 {
			for _, g := range []*gateway.Gateway{small, large} {
				pending = append(pending, observe(g, space, one(&api.Observation{Text: "the cache is cold"})))
			}
		}
		for _, c := range pending {
			must(t, c)
		}
	}
}

// A gateway that died between the bucket and the log leaves the rest to the next one.
func TestDefinitionThatIsNotInTheLog(t *testing.T) {
	space := unique("half-defined")
	conn := connect(t)
	g := core(t, conn, nil)
	defs := openRegistry(t, conn.JS)
	if _, err := defs.Create(t.Context(), &api.SpaceDefinition{Name: space, Dimension: 2, Metric: api.Metric_METRIC_COSINE, Embedder: "lexical", Engine: "exact"}); err != nil {
		t.Fatal(err)
	}
	must(t, observe(g, space, one(&api.Observation{Id: "a", Embedding: f32(1, 2)})))
	all := logged(t, conn.JS, space)
	ev := new(api.LogEvent)
	if len(all) != 2 || proto.Unmarshal(all[0].Data(), ev) != nil || ev.GetDefine().GetDimension() != 2 {
		t.Fatalf("%d messages, the first is %v", len(all), ev)
	}
	entry, err := defs.Lookup(context.Background(), space)
	if err != nil || entry == nil {
		t.Fatal(entry, err)
	}
	eventually(t, "the bucket says that the definition is in the log", func() bool { return defs.Get(space).GetLoggedSequence() > 0 })
}

// No embedder, no text.
func TestSpaceWithoutEmbedder(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, func(c *gateway.Config) { c.Space.Embedder = "none" })
	space := unique("no-embedder")
	a := <-observe(g, space, one(&api.Observation{Text: "a"}))
	if a.refused == nil || a.refused.Code != wire.CodeInvalidEmbedding {
		t.Fatalf("new: %v, %v", a.resp, a.refused)
	}
	must(t, observe(g, space, one(&api.Observation{Text: "a", Embedding: f32(1)})))
	if a = <-observe(g, space, one(&api.Observation{Text: "a"})); a.refused == nil || a.refused.Code != wire.CodeInvalidEmbedding {
		t.Fatalf("known: %v, %v", a.resp, a.refused)
	}
}
