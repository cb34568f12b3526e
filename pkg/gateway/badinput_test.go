package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
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

// bad is an observe request that every transport refuses. A transport that cannot carry it has no body for it.
type bad struct {
	space string // default: a space of dimension 3
	json  string
	proto any // *api.ObserveRequest, or []byte as it is
	code  wire.Code
	field string
}

func badInputs(fresh, half string) map[string]bad {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	long := func(n int) string { return strings.Repeat("x", n) }
	embedded := func(more string) string { return `{"embedding":[1,2,3]` + more + `}` }
	packed := func(e *api.Embedding) string {
		return `{"embedding":"` + base64.StdEncoding.EncodeToString(e.GetData()) + `"}`
	}
	with := func(change func(*api.Observation)) *api.ObserveRequest {
		o := &api.Observation{Embedding: f32(1, 2, 3)}
		change(o)
		return one(o)
	}
	vector := func(e *api.Embedding) *api.ObserveRequest { return one(&api.Observation{Embedding: e}) }
	metadata := map[string]*api.Value{"k": {Kind: &api.Value_String_{String_: long(event.MaxMetadata)}}}
	many := &api.ObserveRequest{}
	for range event.MaxBatch + 1 {
		many.Observations = append(many.Observations, &api.Observation{Embedding: f32(1, 2, 3)})
	}
	return map[string]bad{
		"wrong dimension":            {"", `{"embedding":[1,2]}`, vector(f32(1, 2)), wire.CodeWrongDimension, "embedding"},
		"wrong dimension, new space": {fresh, `{"embedding":[]}`, vector(f32()), wire.CodeInvalidEmbedding, "embedding"},
		"NaN":                        {"", packed(f32(1, nan, 3)), vector(f32(1, nan, 3)), wire.CodeInvalidEmbedding, "embedding"},
		"NaN, new space":             {fresh, packed(f32(nan)), vector(f32(nan)), wire.CodeInvalidEmbedding, "embedding"},
		"infinity":                   {"", packed(f32(inf, 2, 3)), vector(f32(inf, 2, 3)), wire.CodeInvalidEmbedding, "embedding"},
		"overflow":                   {"", `{"embedding":[1e400,2,3]}`, nil, wire.CodeInvalidEmbedding, "embedding"},
		"zero vector":                {"", `{"embedding":[0,0,-0]}`, vector(f32(0, 0, 0)), wire.CodeInvalidEmbedding, "embedding"},
		"zero vector, new space":     {fresh, `{"embedding":[0]}`, vector(f32(0)), wire.CodeInvalidEmbedding, "embedding"},
		"too large for f16":          {half, `{"embedding":[1,65520,3]}`, vector(f32(1, 65520, 3)), wire.CodeInvalidEmbedding, "embedding"},
		"too small for f16":          {half, `{"embedding":[0,2e-8,-1e-8]}`, vector(f32(0, 2e-8, -1e-8)), wire.CodeInvalidEmbedding, "embedding"},
		"odd bytes":                  {"", `{"embedding":"AAAA"}`, vector(&api.Embedding{Data: []byte{1, 2, 3}}), wire.CodeInvalidEmbedding, "embedding"},
		"unknown encoding":           {"", "", vector(&api.Embedding{Data: []byte{1, 2, 3}, Encoding: 9}), wire.CodeUnknownEncoding, "embedding"},
		"i8 without scale":           {"", "", vector(&api.Embedding{Data: []byte{1, 2, 3}, Encoding: api.Encoding_ENCODING_I8}), wire.CodeInvalidEmbedding, "embedding.scale"},
		"too many components": {"", packed(f32(make([]float32, event.MaxDimension+1)...)),
			vector(f32(make([]float32, event.MaxDimension+1)...)), wire.CodeTooLarge, "embedding"},
		"neither text nor embedding": {"", `{}`, one(&api.Observation{}), wire.CodeInvalidEmbedding, "embedding"},
		"text without a word":        {fresh, `{"text":"…"}`, one(&api.Observation{Text: "…"}), wire.CodeInvalidEmbedding, "text"},

		"illegal space":  {"Upper", embedded(""), with(func(*api.Observation) {}), wire.CodeInvalidSpace, "space"},
		"space too long": {long(event.MaxSpaceName + 1), embedded(""), with(func(*api.Observation) {}), wire.CodeInvalidSpace, "space"},
		"another space":  {"", embedded(`,"space":"other"`), with(func(o *api.Observation) { o.Space = "other" }), wire.CodeInvalidSpace, "space"},
		"id too long":    {"", embedded(`,"id":"` + long(event.MaxID+1) + `"`), with(func(o *api.Observation) { o.Id = long(event.MaxID + 1) }), wire.CodeInvalidID, "id"},
		"id with NUL":    {"", embedded(`,"id":"a\u0000"`), with(func(o *api.Observation) { o.Id = "a\x00" }), wire.CodeInvalidID, "id"},
		"text too long":  {"", embedded(`,"text":"` + long(event.MaxText+1) + `"`), with(func(o *api.Observation) { o.Text = long(event.MaxText + 1) }), wire.CodeTooLarge, "text"},
		"metadata too large": {"", embedded(`,"metadata":{"k":"` + long(event.MaxMetadata) + `"}`), with(func(o *api.Observation) { o.Metadata = metadata }),
			wire.CodeTooLarge, "metadata"},
		"metadata of a list":       {"", embedded(`,"metadata":{"k":[1]}`), nil, wire.CodeInvalidArgument, "metadata"},
		"metadata without a value": {"", embedded(`,"metadata":{"k":null}`), with(func(o *api.Observation) { o.Metadata = map[string]*api.Value{"k": {}} }), wire.CodeInvalidArgument, "metadata"},
		"importance":               {"", embedded(`,"importance":1.5`), with(func(o *api.Observation) { o.Importance = 1.5 }), wire.CodeInvalidArgument, "importance"},
		"importance NaN":           {"", "", with(func(o *api.Observation) { o.Importance = nan }), wire.CodeInvalidArgument, "importance"},
		"priority":                 {"", embedded(`,"priority":"urgent"`), with(func(o *api.Observation) { o.Priority = 7 }), wire.CodeInvalidArgument, "priority"},
		"session without sequence": {"", embedded(`,"session":"s"`), with(func(o *api.Observation) { o.Session = "s" }), wire.CodeInvalidArgument, "sequence"},
		"sequence without session": {"", embedded(`,"sequence":1`), with(func(o *api.Observation) { o.Sequence = 1 }), wire.CodeInvalidArgument, "sequence"},
		"session with a newline":   {"", embedded(`,"session":"a\nb","sequence":1`), with(func(o *api.Observation) { o.Session, o.Sequence = "a\nb", 1 }), wire.CodeInvalidArgument, "session"},

		"malformed":        {"", `{"embedding":[1,2,3`, []byte("\x0a\xff"), wire.CodeMalformed, ""},
		"not UTF-8":        {"", "{\"id\":\"\xff\",\"embedding\":[1,2,3]}", []byte{0x0a, 0x03, 0x0a, 0x01, 0xff}, wire.CodeMalformed, ""},
		"unknown field":    {"", embedded(`,"txt":"a"`), nil, wire.CodeMalformed, "txt"},
		"wrong type":       {"", `{"text":5}`, nil, wire.CodeMalformed, "text"},
		"not a time":       {"", embedded(`,"observed_at":"soon"`), nil, wire.CodeMalformed, "observed_at"},
		"trailing data":    {"", embedded("") + "x", nil, wire.CodeMalformed, ""},
		"no observation":   {"", "", &api.ObserveRequest{}, wire.CodeInvalidArgument, "observations"},
		"too many":         {"", "", many, wire.CodeTooLarge, "observations"},
		"acknowledgement":  {"", "", &api.ObserveRequest{Observations: many.GetObservations()[:1], Acknowledgement: 9}, wire.CodeInvalidArgument, "acknowledgement"},
		"key too long":     {"", "", &api.ObserveRequest{Observations: many.GetObservations()[:1], IdempotencyKey: long(event.MaxWriteID + 1)}, wire.CodeTooLarge, "idempotency_key"},
		"key with control": {"", "", &api.ObserveRequest{Observations: many.GetObservations()[:1], IdempotencyKey: "a\rb"}, wire.CodeInvalidArgument, "idempotency_key"},
		"id out of the key": {"", "", &api.ObserveRequest{Observations: many.GetObservations()[:2], IdempotencyKey: long(event.MaxWriteID)},
			wire.CodeInvalidID, "observations[0].id"},
	}
}

// transports are the ways in: each sends a bad input and returns the refusal, or false where it cannot carry it.
func transports(t *testing.T, conn *bus.Conn) map[string]func(bad) (*wire.Error, int, bool) {
	overNATS := func(f wire.Format, space string, body []byte) (*wire.Error, int) {
		m, err := conn.NC.RequestMsg(&nats.Msg{
			Subject: bus.ObserveSubject(space), Data: body, Header: nats.Header{bus.HeaderContentType: {f.ContentType()}},
		}, requestTimeout)
		if err != nil {
			t.Fatal(err)
		}
		status, err := strconv.Atoi(m.Header.Get(micro.ErrorCodeHeader))
		if err != nil || m.Header.Get(micro.ErrorHeader) == "" || m.Header.Get(bus.HeaderContentType) != f.ContentType() {
			t.Fatalf("answered with %v %q", m.Header, m.Data)
		}
		return wire.DecodeError(f, m.Data), status
	}
	overHTTP := func(f wire.Format, space string, body []byte) (*wire.Error, int) {
		status, header, answer := post(t, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations", f.ContentType(), string(body))
		if header.Get("Content-Type") != f.ContentType() {
			t.Fatalf("answered with %v %q", header, answer)
		}
		return wire.DecodeError(f, []byte(answer)), status
	}
	protobuf := func(b bad) []byte {
		switch p := b.proto.(type) {
		case []byte:
			return p
		case *api.ObserveRequest:
			body, err := proto.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			return body
		}
		return nil
	}
	return map[string]func(bad) (*wire.Error, int, bool){
		"NATS JSON": func(b bad) (*wire.Error, int, bool) {
			if b.json == "" {
				return nil, 0, false
			}
			e, status := overNATS(wire.JSON, b.space, []byte(b.json))
			return e, status, true
		},
		"NATS protobuf": func(b bad) (*wire.Error, int, bool) {
			if b.proto == nil {
				return nil, 0, false
			}
			e, status := overNATS(wire.Protobuf, b.space, protobuf(b))
			return e, status, true
		},
		"HTTP JSON": func(b bad) (*wire.Error, int, bool) {
			if b.json == "" {
				return nil, 0, false
			}
			e, status := overHTTP(wire.JSON, b.space, []byte(b.json))
			return e, status, true
		},
		"HTTP protobuf": func(b bad) (*wire.Error, int, bool) {
			if b.proto == nil {
				return nil, 0, false
			}
			e, status := overHTTP(wire.Protobuf, b.space, protobuf(b))
			return e, status, true
		},
		"HTTP NDJSON": func(b bad) (*wire.Error, int, bool) {
			if b.json == "" {
				return nil, 0, false
			}
			status, header, body := post(t, shared.HTTPAddr(), "/v1/spaces/"+b.space+"/observations", wire.TypeNDJSON, b.json)
			if header.Get("Content-Type") != wire.TypeNDJSON {
				// The request as a whole was refused: there is nothing about lines to say.
				return wire.DecodeError(wire.JSON, []byte(body)), status, true
			}
			e := wire.DecodeError(wire.JSON, []byte(body))
			if status != http.StatusOK || !strings.HasPrefix(body, `{"line":1,`) || strings.Count(body, "\n") != 1 {
				t.Fatalf("%d %q", status, body)
			}
			return e, e.Status(), true
		},
	}
}

// The whole list of bad input, on every transport that can carry it: the same structured error, and nothing published.
func TestBadInput(t *testing.T) {
	conn := connect(t)
	taken := unique("bad-input")
	define(t, conn, taken, f32(1, 2, 3))
	half := unique("bad-half")
	if _, refused := core(t, conn, nil).Define(t.Context(), half, &api.DefineRequest{Dimension: proto.Uint32(3), Vectors: api.Vectors_VECTORS_F16}); refused != nil {
		t.Fatal(refused)
	}
	ways := transports(t, conn)
	maps.Copy(ways, streamTransports(t))
	before := lastSequences(t, conn.JS)
	for name, b := range badInputs(unique("bad-new"), half) {
		if b.space == "" {
			b.space = taken
		}
		carried, messages := 0, map[string]string{}
		for way, send := range ways {
			e, status, ok := send(b)
			if !ok {
				continue
			}
			carried++
			if e.Code != b.code || e.Field != b.field || status != wire.Codes()[b.code] || len(e.Message) < 10 {
				t.Errorf("%s by %s: %d %+v; want %s (%s)", name, way, status, e, b.code, b.field)
			}
			messages[e.Message] = way
		}
		if carried < 2 {
			t.Errorf("%s was sent by %d transports", name, carried)
		}
		// Overflow and malformed are about the format itself; all else is said in the same words.
		if len(messages) != 1 && b.code != wire.CodeMalformed && b.json != "" && name != "odd bytes" && name != "priority" && !strings.HasPrefix(name, "metadata") {
			t.Errorf("%s is refused in other words by other transports: %v", name, messages)
		}
		if after := lastSequences(t, conn.JS); !maps.Equal(after, before) {
			t.Fatalf("%s: the streams went from %v to %v", name, before, after)
		}
	}
}

// One bad observation among good ones: nothing of the request is taken, and the error says which it was. NDJSON takes
// the other lines.
func TestOneBadAmongMany(t *testing.T) {
	conn := connect(t)
	taken := unique("bad-input")
	define(t, conn, taken, f32(1, 2, 3))
	before := lastSequences(t, conn.JS)
	const body = `[{"embedding":[1,2,3]},{"embedding":[1,2]},{"embedding":[3,2,1]}]`
	status, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/"+taken+"/observations", wire.TypeJSON, body)
	if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusBadRequest || e.Code != wire.CodeWrongDimension || e.Field != "observations[1].embedding" {
		t.Errorf("%d %s", status, text)
	}
	_, err := newClient(conn).Observe(t.Context(), taken, &api.ObserveRequest{Observations: []*api.Observation{
		{Embedding: f32(1, 2, 3)}, {Embedding: f32(1, 2, 3), Importance: 2},
	}})
	var e *wire.Error
	if !errors.As(err, &e) || e.Field != "observations[1].importance" {
		t.Errorf("%v", err)
	}
	if after := lastSequences(t, conn.JS); !maps.Equal(after, before) {
		t.Fatalf("the streams went from %v to %v", before, after)
	}
	for name, second := range map[string]string{
		"wrong dimension": `{"embedding":[1,2]}`, "not JSON": `{`, "two": `[{"embedding":[1,2,3]}]`, "an envelope": `{"observations":[]}`,
		"acknowledged by itself": `{"embedding":[1,2,3],"idempotency_key":"k"}`,
		"too many components":    `{"embedding":"` + base64.StdEncoding.EncodeToString(make([]byte, 4*(event.MaxDimension+1))) + `"}`,
	} {
		lines := strings.Join([]string{`{"id":"a","embedding":[1,2,3]}`, second, "", ` {"id":"c","embedding":[1,2,3]} `}, "\r\n")
		status, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/"+taken+"/observations", wire.TypeNDJSON, lines)
		results := decodeLines(t, text)
		if status != http.StatusOK || len(results) != 3 {
			t.Fatalf("%s: %d %s", name, status, text)
		}
		for i, want := range []lineResult{{Line: 1, ID: "a"}, {Line: 2}, {Line: 4, ID: "c"}} {
			got := results[i]
			if got.Line != want.Line || got.ID != want.ID || (got.Position == "") != (want.ID == "") || (len(got.Error) == 0) != (want.ID != "") {
				t.Errorf("%s: line %d is %+v", name, want.Line, got)
			}
		}
	}
}

type lineResult struct {
	Line      int             `json:"line"`
	ID        string          `json:"id"`
	Position  string          `json:"position"`
	Duplicate bool            `json:"duplicate"`
	Error     json.RawMessage `json:"error"`
}

func decodeLines(t *testing.T, text string) []lineResult {
	t.Helper()
	var all []lineResult
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var l lineResult
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		all = append(all, l)
	}
	return all
}

// Where the gateway's configuration says f16, the first observation of a space is held to it as all others are.
func TestFirstObservationFitsF16(t *testing.T) {
	conn := connect(t)
	g := core(t, conn, func(c *gateway.Config) { c.Space.Vectors, c.Space.Metric = "f16", "l2" })
	space := unique("half-first")
	before := lastSequences(t, conn.JS)
	a := <-observe(g, space, one(&api.Observation{Id: "a", Embedding: f32(7e4, 1)}))
	if a.refused == nil || a.refused.Code != wire.CodeInvalidEmbedding || !strings.Contains(a.refused.Message, "component 0 is 70000, and the largest number of f16 is 65504") {
		t.Errorf("%v, %v", a.resp, a.refused)
	}
	if after := lastSequences(t, conn.JS); !maps.Equal(after, before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
	must(t, observe(g, space, one(&api.Observation{Id: "a", Embedding: f32(65504, 0)})))
	must(t, observe(g, space, one(&api.Observation{Id: "0", Embedding: f32(0, 1e-9)}))) // zero is a vector to l2
}

// What is over the size that a transport carries.
func TestTooLargeForTheTransport(t *testing.T) {
	conn := connect(t)
	taken := unique("bad-input")
	define(t, conn, taken, f32(1, 2, 3))
	before := lastSequences(t, conn.JS)
	huge := bytes.Repeat([]byte("x"), 1<<20+1)
	if _, err := conn.NC.Request(bus.ObserveSubject(taken), huge, requestTimeout); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("NATS: %v", err)
	}
	_, err := newClient(conn).Observe(t.Context(), taken, one(&api.Observation{Text: string(huge)}))
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeTooLarge {
		t.Errorf("client: %v", err)
	}
	path := "/v1/spaces/" + taken + "/observations"
	status, _, text := post(t, shared.HTTPAddr(), path, wire.TypeJSON, `{"text":"`+strings.Repeat("x", 16<<20)+`"}`)
	if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusRequestEntityTooLarge || e.Code != wire.CodeTooLarge {
		t.Errorf("HTTP: %d %.200s", status, text)
	}
	line := `{"text":"` + strings.Repeat("x", 2<<20) + `"}`
	status, _, text = post(t, shared.HTTPAddr(), path, wire.TypeNDJSON, "\n"+line+"\n"+`{"embedding":[1,2]}`)
	// The lines behind it are read, as they must be, or the next request on this connection would fail.
	if all := decodeLines(t, text); status != http.StatusOK || len(all) != 2 || all[0].Line != 2 || !bytes.Contains(all[0].Error, []byte(`"too_large"`)) || all[1].Line != 3 {
		t.Errorf("NDJSON: %d %.200s", status, text)
	}
	if after := lastSequences(t, conn.JS); !maps.Equal(after, before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

// Spaces that a subject or a path cannot carry, and headers that say nothing legal.
func TestBadAddressing(t *testing.T) {
	conn := connect(t)
	before := lastSequences(t, conn.JS)
	c := newClient(conn)
	for _, space := range []string{"", "a.b", "*", ">", "a b", "Ä", strings.Repeat("x", 64)} {
		var e *wire.Error
		if _, err := c.Observe(t.Context(), space, one(&api.Observation{Text: "a"})); !errors.As(err, &e) || e.Code != wire.CodeInvalidSpace || e.Field != "space" {
			t.Errorf("client, space %q: %v", space, err)
		}
	}
	for path, want := range map[string]wire.Code{
		"/v1/spaces//observations": wire.CodeNotFound, "/v1/spaces/a.b/observations": wire.CodeInvalidSpace, "/v1/spaces/%C3%84/observations": wire.CodeInvalidSpace,
		"/v1/spaces/a%2Fb/observations": wire.CodeInvalidSpace, "/v1/spaces/%00/observations": wire.CodeInvalidSpace,
	} {
		for _, contentType := range []string{wire.TypeJSON, wire.TypeNDJSON, ""} {
			status, header, text := post(t, shared.HTTPAddr(), path, contentType, `{"text":"a"}`)
			if e := wire.DecodeError(wire.JSON, []byte(text)); e.Code != want || status != wire.Codes()[want] || header.Get("Content-Type") != wire.TypeJSON {
				t.Errorf("%s as %q: %d %s", path, contentType, status, text)
			}
		}
	}
	for header, value := range map[string]string{wire.HeaderAck: "later", wire.HeaderDeadline: "1s"} {
		for _, contentType := range []string{wire.TypeJSON, wire.TypeNDJSON} {
			status, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/bad-header/observations", contentType, `{"text":"a"}`, header, value)
			if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusBadRequest || e.Code != wire.CodeInvalidArgument || e.Field != header {
				t.Errorf("%s %s as %s: %d %s", header, value, contentType, status, text)
			}
		}
		m, err := conn.NC.RequestMsg(&nats.Msg{Subject: bus.ObserveSubject("bad-header"), Data: []byte(`{"text":"a"}`), Header: nats.Header{header: {value}}}, requestTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if e := wire.DecodeError(wire.JSON, m.Data); e.Code != wire.CodeInvalidArgument || e.Field != header {
			t.Errorf("%s %s over NATS: %s", header, value, m.Data)
		}
	}
	status, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/bad-header/observations", "text/plain", `{"text":"a"}`)
	if e := wire.DecodeError(wire.JSON, []byte(text)); status != http.StatusBadRequest || e.Code != wire.CodeMalformed || e.Field != "Content-Type" {
		t.Errorf("text/plain: %d %s", status, text)
	}
	if after := lastSequences(t, conn.JS); !maps.Equal(after, before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
}

// A zero vector has no direction, which matters to cosine alone.
func TestZeroVector(t *testing.T) {
	for _, metric := range []string{"dot", "l2"} {
		conn := connect(t)
		g := core(t, conn, func(c *gateway.Config) { c.Space.Metric = metric })
		space := unique("zero-" + metric)
		must(t, observe(g, space, one(&api.Observation{Id: "0", Embedding: f32(0, 0)})))
		status, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations", wire.TypeJSON, `{"embedding":[0,0],"acknowledgement":"searchable"}`)
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", metric, status, text)
		}
		resp, err := newClient(conn).Recall(t.Context(), space, &api.RecallRequest{Embedding: f32(0, 0)})
		if err != nil || len(resp.GetHits()) != 2 {
			t.Errorf("%s: %v, %v", metric, resp, err)
		}
	}
}

// define makes a space exist.
func define(t *testing.T, conn *bus.Conn, space string, e *api.Embedding) {
	t.Helper()
	if _, err := newClient(conn).Observe(t.Context(), space, one(&api.Observation{Id: "first", Embedding: e})); err != nil {
		t.Fatal(fmt.Errorf("defining %s: %w", space, err))
	}
}
