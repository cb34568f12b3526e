package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
)

// said is what is fixed about a space, as one line.
func said(d *api.SpaceDefinition) string {
	return fmt.Sprint(d.GetDimension(), " ", wire.MetricName(d.GetMetric()), " ", wire.VectorsName(d.GetVectors()), " ", d.GetEngine(), " ", d.GetEmbedder())
}

// What a request leaves out is the gateway's default; a dimension means embeddings of one's own.
func TestDefineFillsIn(t *testing.T) {
	conn := connect(t)
	plain := core(t, conn, nil)
	other := core(t, conn, func(c *gateway.Config) {
		c.Space.Metric, c.Space.Vectors, c.Space.Engine, c.Space.Dimension = "l2", "f16", "exact", 32
	})
	dim := proto.Uint32
	for name, tc := range map[string]struct {
		g    *gateway.Gateway
		req  *api.DefineRequest
		want string
	}{
		"nothing":         {plain, &api.DefineRequest{}, "512 cosine f32 hnsw lexical"},
		"dimension":       {plain, &api.DefineRequest{Dimension: dim(3)}, "3 cosine f32 hnsw none"},
		"words":           {plain, &api.DefineRequest{Dimension: dim(64), Embedder: "lexical"}, "64 cosine f32 hnsw lexical"},
		"all":             {plain, &api.DefineRequest{Dimension: dim(7), Metric: api.Metric_METRIC_DOT, Vectors: api.Vectors_VECTORS_NONE, Engine: "coder", Embedder: "none"}, "7 dot none coder none"},
		"nothing, others": {other, &api.DefineRequest{}, "32 l2 f16 exact lexical"},
		"some, others":    {other, &api.DefineRequest{Metric: api.Metric_METRIC_COSINE, Vectors: api.Vectors_VECTORS_F32}, "32 cosine f32 exact lexical"},
	} {
		space := unique("fills")
		resp, refused := tc.g.Define(t.Context(), space, tc.req)
		if refused != nil {
			t.Errorf("%s: %v", name, refused)
			continue
		}
		if d := resp.GetDefinition(); said(d) != tc.want || !resp.GetCreated() || d.GetName() != space || d.GetGeneration() != 1 || d.GetCreatedAt() == 0 {
			t.Errorf("%s: %v, want %s", name, resp, tc.want)
		}
		// The log has it, once, and it is what a worker will read.
		ev, all := new(api.LogEvent), logged(t, conn.JS, space)
		if len(all) != 1 || proto.Unmarshal(all[0].Data(), ev) != nil || said(ev.GetDefine()) != tc.want {
			t.Errorf("%s: %d messages in the log, the first is %v", name, len(all), ev)
		}
	}
}

// What a space is made with by its first observation.
func TestFirstObservationFillsIn(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, nil)
	for want, o := range map[string]*api.Observation{
		"2 cosine f32 hnsw none": {Embedding: f32(1, 2)}, "512 cosine f32 hnsw lexical": {Text: "words"},
	} {
		space := unique("first-fills")
		must(t, observe(g, space, one(o)))
		if got := said(openRegistry(t, conn.JS).Get(space).SpaceDefinition); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// The same again is fine; anything else is a conflict about the first field that differs, and changes nothing.
func TestDefineAgain(t *testing.T) {
	conn := connect(t)
	gateways := []*gateway.Gateway{core(t, conn, nil), core(t, connect(t), func(c *gateway.Config) { c.Space.Metric, c.Space.Dimension = "l2", 9 })}
	space := unique("again")
	full := func() *api.DefineRequest {
		return &api.DefineRequest{
			Dimension: proto.Uint32(3), Metric: api.Metric_METRIC_DOT, Vectors: api.Vectors_VECTORS_F16, Engine: "exact", Embedder: "none",
		}
	}
	if resp, refused := gateways[0].Define(t.Context(), space, full()); refused != nil || !resp.GetCreated() {
		t.Fatal(resp, refused)
	}
	for i, g := range gateways {
		for _, req := range []*api.DefineRequest{full(), {}, {Metric: api.Metric_METRIC_DOT}, {Space: space}} {
			resp, refused := g.Define(t.Context(), space, req)
			if refused != nil || resp.GetCreated() || said(resp.GetDefinition()) != "3 dot f16 exact none" {
				t.Errorf("%v again at gateway %d: %v, %v", req, i, resp, refused)
			}
		}
		for field, change := range map[string]func(*api.DefineRequest){
			"dimension": func(r *api.DefineRequest) { r.Dimension = proto.Uint32(4); r.Metric = api.Metric_METRIC_L2 },
			"metric":    func(r *api.DefineRequest) { r.Metric = api.Metric_METRIC_COSINE },
			"vectors":   func(r *api.DefineRequest) { r.Vectors = api.Vectors_VECTORS_F32 },
			"engine":    func(r *api.DefineRequest) { r.Engine = "hnsw" },
			"embedder":  func(r *api.DefineRequest) { r.Embedder = "http:of-somebody-else" },
		} {
			req := full()
			change(req)
			if _, refused := g.Define(t.Context(), space, req); refused == nil || refused.Code != wire.CodeConflict || refused.Field != field {
				t.Errorf("another %s at gateway %d: %v", field, i, refused)
			}
		}
	}
	if all := logged(t, conn.JS, space); len(all) != 1 {
		t.Errorf("%d messages in the log", len(all))
	}
	// Observations are checked against it, and after a drop the name is free.
	if a := <-observe(gateways[0], space, one(&api.Observation{Embedding: f32(1, 2)})); a.refused == nil || a.refused.Code != wire.CodeWrongDimension {
		t.Errorf("an observation of another dimension: %v, %v", a.resp, a.refused)
	}
	if _, refused := gateways[0].Forget(t.Context(), space, &api.ForgetRequest{All: true}); refused != nil {
		t.Fatal(refused)
	}
	resp, refused := gateways[0].Define(t.Context(), space, &api.DefineRequest{Dimension: proto.Uint32(5)})
	if refused != nil || !resp.GetCreated() || resp.GetDefinition().GetGeneration() != 2 || resp.GetDefinition().GetDimension() != 5 {
		t.Errorf("after a drop: %v, %v", resp, refused)
	}
}

// Many at once, of two kinds, at two gateways: one is made, once, and only those who asked for it are told that it is
// theirs.
func TestDefineRace(t *testing.T) {
	a, b := connect(t), connect(t)
	gateways := []*gateway.Gateway{core(t, a, nil), core(t, b, nil)}
	for range 4 {
		space := unique("define-race")
		var mu sync.Mutex
		var done sync.WaitGroup
		fine, created, conflicts := map[uint32]int{}, 0, 0
		for i := range 40 {
			done.Go(func() {
				dim := uint32(3 + i%2)
				resp, refused := gateways[i/2%2].Define(t.Context(), space, &api.DefineRequest{Dimension: &dim})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case refused == nil && resp.GetDefinition().GetDimension() == dim:
					fine[dim]++
					if resp.GetCreated() {
						created++
					}
				case refused != nil && refused.Code == wire.CodeConflict && refused.Field == "dimension":
					conflicts++
				default:
					t.Errorf("dimension %d: %v, %v", dim, resp, refused)
				}
			})
		}
		done.Wait()
		if len(fine) != 1 || created != 1 || conflicts != 20 {
			t.Errorf("%s: fine %v, created %d times, %d conflicts", space, fine, created, conflicts)
		}
		// The same event may be in the log for each gateway.
		for _, m := range logged(t, a.JS, space) {
			ev := new(api.LogEvent)
			if err := proto.Unmarshal(m.Data(), ev); err != nil || fine[ev.GetDefine().GetDimension()] == 0 {
				t.Errorf("the log has %v, %v", ev, err)
			}
		}
	}
}

// What no space can be is refused with the field, on every way in, and makes none.
func TestBadDefinitions(t *testing.T) {
	conn := connect(t)
	before := lastSequences(t, conn.JS)
	for name, tc := range map[string]struct {
		space, body string
		code        wire.Code
		field       string
	}{
		"no JSON":           {"", `{`, wire.CodeMalformed, ""},
		"an unknown field":  {"", `{"dim":3}`, wire.CodeMalformed, "dim"},
		"no dimension":      {"", `{"dimension":0}`, wire.CodeInvalidArgument, "dimension"},
		"a large dimension": {"", `{"dimension":4097}`, wire.CodeInvalidArgument, "dimension"},
		"a needed one":      {"", `{"embedder":"none"}`, wire.CodeInvalidArgument, "dimension"},
		"words in one":      {"", `{"dimension":1,"embedder":"lexical"}`, wire.CodeInvalidArgument, "dimension"},
		"metric":            {"", `{"metric":"hamming"}`, wire.CodeInvalidArgument, "metric"},
		"vectors":           {"", `{"vectors":"f64"}`, wire.CodeInvalidArgument, "vectors"},
		"engine":            {"", `{"engine":"warp"}`, wire.CodeInvalidArgument, "engine"},
		"embedder":          {"", `{"embedder":"http:not-here"}`, wire.CodeInvalidArgument, "embedder"},
		"another space":     {"", `{"space":"other"}`, wire.CodeInvalidSpace, "space"},
		"no name":           {"Upper", `{"dimension":3}`, wire.CodeInvalidSpace, "space"},
	} {
		space := tc.space
		if space == "" {
			space = unique("bad-definition")
		}
		status, _, body := put(t, "/v1/spaces/"+space, tc.body)
		if e := wire.DecodeError(wire.JSON, []byte(body)); e.Code != tc.code || e.Field != tc.field || status != wire.Codes()[tc.code] {
			t.Errorf("%s over HTTP: %d %s, want %s (%s)", name, status, body, tc.code, tc.field)
		}
		m, err := conn.NC.RequestMsg(&nats.Msg{
			Subject: bus.DefineSubject(space), Data: []byte(tc.body), Header: nats.Header{bus.HeaderContentType: {wire.TypeJSON}},
		}, requestTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if e := wire.DecodeError(wire.JSON, m.Data); e.Code != tc.code || e.Field != tc.field || m.Header.Get(micro.ErrorCodeHeader) != fmt.Sprint(wire.Codes()[tc.code]) {
			t.Errorf("%s over NATS: %v %s, want %s (%s)", name, m.Header, m.Data, tc.code, tc.field)
		}
	}
	if after := lastSequences(t, conn.JS); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

// A space that is made over HTTP can be written to and read from at once, and is the same for everybody.
func TestDefineOverTransports(t *testing.T) {
	conn := connect(t)
	space := unique("over-http")
	const body = `{"dimension":2,"metric":"l2","vectors":"f16","engine":"exact"}`
	for i, want := range []int{http.StatusCreated, http.StatusOK} {
		status, header, answer := put(t, "/v1/spaces/"+space, body)
		if status != want || header.Get("Content-Type") != wire.TypeJSON ||
			!strings.Contains(answer, `"dimension":2,"metric":"l2","embedder":"none","engine":"exact","vectors":"f16","generation":1`) ||
			!strings.Contains(answer, fmt.Sprintf(`"created":%t,"revision":`, i == 0)) {
			t.Errorf("%d %s", status, answer)
		}
	}
	c := newClient(conn)
	resp, err := c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(1, 0)})
	if err != nil || len(resp.GetHits()) != 0 {
		t.Errorf("a recall in the new space: %v, %v", resp, err)
	}
	if resp, err := c.Define(t.Context(), space, &api.DefineRequest{Vectors: api.Vectors_VECTORS_F16}); err != nil || resp.GetCreated() || resp.GetDefinition().GetDimension() != 2 {
		t.Errorf("the client: %v, %v", resp, err)
	}
	if _, err := c.Observe(t.Context(), space, untilSearchable("", &api.Observation{Id: "a", Embedding: f32(0, 3)})); err != nil {
		t.Fatal(err)
	}
	if resp, err = c.Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(0, 1)}); err != nil || len(resp.GetHits()) != 1 || resp.GetHits()[0].GetScore() != -4 {
		t.Errorf("a recall by l2: %v, %v", resp, err)
	}
	// What the worker holds is what was asked for.
	held, err := proto.Marshal(&api.ShardSpacesRequest{Space: space})
	if err != nil {
		t.Fatal(err)
	}
	m, err := conn.NC.Request(bus.ShardSubject(event.ShardOf(space, shards), bus.VerbSpaces), held, requestTimeout)
	if err != nil {
		t.Fatal(err)
	}
	spaces := new(api.ShardSpacesResponse)
	if err := proto.Unmarshal(m.Data, spaces); err != nil || len(spaces.GetSpaces()) != 1 || said(spaces.GetSpaces()[0].GetDefinition()) != "2 l2 f16 exact none" || spaces.GetSpaces()[0].GetObservations() != 1 {
		t.Errorf("%v, %v", spaces, err)
	}
	// An empty body takes the defaults.
	if status, _, answer := put(t, "/v1/spaces/"+unique("over-http"), ""); status != http.StatusCreated || !strings.Contains(answer, `"embedder":"lexical"`) {
		t.Errorf("%d %s", status, answer)
	}
}

func put(t *testing.T, path, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+shared.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestSpaceConfigIsValidated(t *testing.T) {
	for name, change := range map[string]func(*gateway.Config){
		"space.engine":            func(c *gateway.Config) { c.Space.Engine = "warp" },
		"space.vectors":           func(c *gateway.Config) { c.Space.Vectors = "f64" },
		"space.metric":            func(c *gateway.Config) { c.Space.Metric = "hamming" },
		"cannot tell texts apart": func(c *gateway.Config) { c.Space.Dimension = 1 },
	} {
		cfg := gateway.DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
