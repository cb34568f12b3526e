package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestObservationRoundTrip(t *testing.T) {
	for _, o := range []*api.Observation{
		whole(), {}, {Text: "a"}, {Embedding: f32(1)}, {Priority: api.Priority_PRIORITY_NORMAL}, {ObservedAt: -1}, {ExpiresAt: 1},
	} {
		b, err := wire.EncodeObservationJSON(o)
		if err != nil {
			t.Fatal(err)
		}
		req, single, refusal := wire.DecodeObserve(wire.JSON, b)
		if refusal != nil || !single || len(req.GetObservations()) != 1 {
			t.Fatalf("%s: %v, single %t", b, refusal, single)
		}
		equal(t, req.GetObservations()[0], o)

		in := &api.ObserveRequest{
			Observations: []*api.Observation{o, whole()}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
			IdempotencyKey: "k", DeadlineMs: 7,
		}
		if b, err = proto.Marshal(in); err != nil {
			t.Fatal(err)
		}
		req, single, refusal = wire.DecodeObserve(wire.Protobuf, b)
		if refusal != nil || single {
			t.Fatalf("protobuf: %v, single %t", refusal, single)
		}
		equal(t, req, in)
	}
}

func TestObserveForms(t *testing.T) {
	ack := api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
	for body, want := range map[string]struct {
		ids    string
		single bool
		req    *api.ObserveRequest
	}{
		`{"id":"a"}`:            {"a", true, &api.ObserveRequest{}},
		` [{"id":"a"}] `:        {"a", false, &api.ObserveRequest{}},
		`[]`:                    {"", false, &api.ObserveRequest{}},
		`{"observations":[]}`:   {"", false, &api.ObserveRequest{}},
		"\n[{\"id\":\"a\"},{}]": {"a ", false, &api.ObserveRequest{}},
		`{"id":"a","acknowledgement":"searchable","idempotency_key":"k","deadline_ms":9}`: {
			"a", true, &api.ObserveRequest{Acknowledgement: ack, IdempotencyKey: "k", DeadlineMs: 9}},
		`{"observations":[{"id":"a"},{"id":"b"}],"acknowledgement":"searchable","idempotency_key":"k","deadline_ms":9}`: {
			"a b", false, &api.ObserveRequest{Acknowledgement: ack, IdempotencyKey: "k", DeadlineMs: 9}},
	} {
		req, single, err := wire.DecodeObserve(wire.JSON, []byte(body))
		if err != nil || single != want.single {
			t.Errorf("%s: %v, single %t", body, err, single)
			continue
		}
		ids := make([]string, len(req.GetObservations()))
		for i, o := range req.GetObservations() {
			ids[i] = o.GetId()
		}
		if got := strings.Join(ids, " "); got != want.ids {
			t.Errorf("%s: ids %q", body, got)
		}
		req.Observations = nil
		equal(t, req, want.req)
	}
}

func TestObserveIsStrict(t *testing.T) {
	for body, want := range map[string]struct {
		code  wire.Code
		field string
	}{
		``:                    {wire.CodeMalformed, ""},
		`{`:                   {wire.CodeMalformed, ""},
		`5`:                   {wire.CodeMalformed, ""},
		`"a"`:                 {wire.CodeMalformed, ""},
		`{"text":"a"} x`:      {wire.CodeMalformed, ""},
		`{"text":"a"}{}`:      {wire.CodeMalformed, ""},
		`[{"text":"a"}] []`:   {wire.CodeMalformed, ""},
		"{\"text\":\"\xff\"}": {wire.CodeMalformed, ""},

		`{"txt":"a"}`:                           {wire.CodeMalformed, "txt"},
		`{"a.b\"c":1}`:                          {wire.CodeMalformed, `a.b"c`},
		`{"text":5}`:                            {wire.CodeMalformed, "text"},
		`{"id":{}}`:                             {wire.CodeMalformed, "id"},
		`{"sequence":-1}`:                       {wire.CodeMalformed, "sequence"},
		`{"sequence":1.5}`:                      {wire.CodeMalformed, "sequence"},
		`{"sequence":18446744073709551616}`:     {wire.CodeMalformed, "sequence"},
		`{"importance":"1"}`:                    {wire.CodeMalformed, "importance"},
		`{"importance":1e400}`:                  {wire.CodeMalformed, "importance"},
		`{"deadline_ms":-1}`:                    {wire.CodeMalformed, "deadline_ms"},
		`{"priority":1}`:                        {wire.CodeMalformed, "priority"},
		`{"priority":"urgent"}`:                 {wire.CodeInvalidArgument, "priority"},
		`{"acknowledgement":"indexed"}`:         {wire.CodeInvalidArgument, "acknowledgement"},
		`{"metadata":5}`:                        {wire.CodeMalformed, "metadata"},
		`{"metadata":{"a":[]}}`:                 {wire.CodeInvalidArgument, "metadata"},
		`{"metadata":{"a":null}}`:               {wire.CodeInvalidArgument, "metadata"},
		`{"metadata":{"a":1e400}}`:              {wire.CodeInvalidArgument, "metadata"},
		`{"observed_at":5}`:                     {wire.CodeMalformed, "observed_at"},
		`{"observed_at":"yesterday"}`:           {wire.CodeMalformed, "observed_at"},
		`{"expires_at":"2026-01-02"}`:           {wire.CodeMalformed, "expires_at"},
		`{"expires_at":"9999-01-02T15:04:05Z"}`: {wire.CodeMalformed, "expires_at"},

		`{"observations":5}`:                           {wire.CodeMalformed, "observations"},
		`{"observations":[{"text":"a"}],"text":"b"}`:   {wire.CodeMalformed, "observations"},
		`[{"text":"a"},{"text":5}]`:                    {wire.CodeMalformed, "observations[1].text"},
		`[{"text":"a"},{"embedding":["x"]}]`:           {wire.CodeInvalidEmbedding, "observations[1].embedding"},
		`[{"text":"a"},{"priority":"x"}]`:              {wire.CodeInvalidArgument, "observations[1].priority"},
		`[{"text":"a"},5]`:                             {wire.CodeMalformed, "observations[1]"},
		`{"observations":[{},{},{"observed_at":"x"}]}`: {wire.CodeMalformed, "observations[2].observed_at"},
		`{"observations":[{},{"nope":1}]}`:             {wire.CodeMalformed, "observations[1].nope"},
		`[{"text":5}]`:                                 {wire.CodeMalformed, "text"},
	} {
		t.Run(body, func(t *testing.T) {
			_, _, err := wire.DecodeObserve(wire.JSON, []byte(body))
			refused(t, err, want.code, want.field)
		})
	}
	_, _, err := wire.DecodeObserve(wire.Protobuf, []byte("not protobuf"))
	refused(t, err, wire.CodeMalformed, "")
	// proto3 strings are UTF-8: field 1 of field 1.
	_, _, err = wire.DecodeObserve(wire.Protobuf, []byte{0x0a, 0x03, 0x0a, 0x01, 0xff})
	refused(t, err, wire.CodeMalformed, "")
}

func TestObservedAt(t *testing.T) {
	for in, want := range map[string]int64{
		`"2026-01-02T15:04:05Z"`:                1767366245e9,
		`"2026-01-02T15:04:05.000000001Z"`:      1767366245e9 + 1,
		`"2026-01-02T16:04:05.5+01:00"`:         1767366245e9 + 5e8,
		`"1969-12-31T23:59:59.999999999Z"`:      -1,
		`""`:                                    0,
		`null`:                                  0,
		`"1678-01-01T00:00:00Z"`:                -9214560000e9,
		`"2261-12-31T23:59:59.999999999-23:59"`: 9214732739e9 + 999999999,
	} {
		req, _, err := wire.DecodeObserve(wire.JSON, []byte(`{"observed_at":`+in+`}`))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := req.GetObservations()[0].GetObservedAt(); got != want {
			t.Errorf("%s is %d, want %d", in, got, want)
		}
	}
}

func TestMetadataGoValues(t *testing.T) {
	in := map[string]any{"s": "x", "f": 1.5, "i": 3, "l": int64(-4), "b": true}
	m, err := wire.MetadataFrom(in)
	if err != nil {
		t.Fatal(err)
	}
	got, want := wire.MetadataTo(m), map[string]any{"s": "x", "f": 1.5, "i": 3.0, "l": -4.0, "b": true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if m, err := wire.MetadataFrom(nil); m != nil || err != nil {
		t.Errorf("nothing is %v, %v", m, err)
	}
	_, err = wire.MetadataFrom(map[string]any{"a": []string{"b"}})
	refused(t, err, wire.CodeInvalidArgument, "metadata")
}

func TestCheckObservation(t *testing.T) {
	many := map[string]*api.Value{}
	for i := range event.MaxMetadataKeys {
		many[fmt.Sprint(i)] = boolean(true)
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, o := range map[string]*api.Observation{
		"whole": whole(), "empty": {}, "longest": {Id: long(event.MaxID), Text: long(event.MaxText), Session: long(event.MaxSession), Sequence: 1},
		"metadata": {Metadata: map[string]*api.Value{"k": text(long(event.MaxMetadata - 1))}}, "keys": {Metadata: many},
	} {
		if err := wire.CheckObservation(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	more := map[string]*api.Value{"one more": boolean(true)}
	for k, v := range many {
		more[k] = v
	}
	for _, c := range []struct {
		o     *api.Observation
		code  wire.Code
		field string
	}{
		{&api.Observation{Id: long(event.MaxID + 1)}, wire.CodeInvalidID, "id"},
		{&api.Observation{Id: "a\x00"}, wire.CodeInvalidID, "id"},
		{&api.Observation{Id: "a\xff"}, wire.CodeInvalidID, "id"},
		{&api.Observation{Text: long(event.MaxText + 1)}, wire.CodeTooLarge, "text"},
		{&api.Observation{Importance: 1.01}, wire.CodeInvalidArgument, "importance"},
		{&api.Observation{Importance: -0.1}, wire.CodeInvalidArgument, "importance"},
		{&api.Observation{Importance: nan()}, wire.CodeInvalidArgument, "importance"},
		{&api.Observation{Priority: 3}, wire.CodeInvalidArgument, "priority"},
		{&api.Observation{Priority: -1}, wire.CodeInvalidArgument, "priority"},
		{&api.Observation{ExpiresAt: -1}, wire.CodeInvalidArgument, "expires_at"},
		{&api.Observation{Session: long(event.MaxSession + 1), Sequence: 1}, wire.CodeInvalidArgument, "session"},
		{&api.Observation{Session: "a\nb", Sequence: 1}, wire.CodeInvalidArgument, "session"},
		{&api.Observation{Session: " a", Sequence: 1}, wire.CodeInvalidArgument, "session"},
		{&api.Observation{Session: "a"}, wire.CodeInvalidArgument, "sequence"},
		{&api.Observation{Sequence: 1}, wire.CodeInvalidArgument, "sequence"},
		{&api.Observation{Metadata: map[string]*api.Value{"k": text(long(event.MaxMetadata))}}, wire.CodeTooLarge, "metadata"},
		{&api.Observation{Metadata: more}, wire.CodeTooLarge, "metadata"},
		{&api.Observation{Metadata: map[string]*api.Value{"k": {}}}, wire.CodeInvalidArgument, "metadata"},
		{&api.Observation{Metadata: map[string]*api.Value{"k": nil}}, wire.CodeInvalidArgument, "metadata"},
		{&api.Observation{Metadata: map[string]*api.Value{"k": number(float64(nan()))}}, wire.CodeInvalidArgument, "metadata"},
		{&api.Observation{Metadata: map[string]*api.Value{"k": number(float64(inf()))}}, wire.CodeInvalidArgument, "metadata"},
	} {
		refused(t, wire.CheckObservation(c.o), c.code, c.field)
	}
	refused(t, wire.CheckID("", "ids[2]"), wire.CodeInvalidID, "ids[2]")
	refused(t, wire.CheckSpace("Ä"), wire.CodeInvalidSpace, "space")
	refused(t, wire.CheckAck(3), wire.CodeInvalidArgument, "acknowledgement")
	refused(t, wire.CheckIdempotencyKey(long(event.MaxWriteID+1)), wire.CodeTooLarge, "idempotency_key")
	refused(t, wire.CheckIdempotencyKey("a\tb"), wire.CodeInvalidArgument, "idempotency_key")
	for _, key := range []string{"", "import 7/ä", long(event.MaxWriteID)} {
		if err := wire.CheckIdempotencyKey(key); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestObserveHeaders(t *testing.T) {
	get := func(h map[string]string) func(string) string { return func(k string) string { return h[k] } }
	all := map[string]string{wire.HeaderAck: "searchable", wire.HeaderDeadline: "250", wire.HeaderIdempotencyKey: "k"}
	req := new(api.ObserveRequest)
	if err := wire.ObserveHeaders(req, get(all)); err != nil {
		t.Fatal(err)
	}
	want := &api.ObserveRequest{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE, DeadlineMs: 250, IdempotencyKey: "k"}
	equal(t, req, want)
	// A body that says so itself goes first.
	said := &api.ObserveRequest{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED, DeadlineMs: 1, IdempotencyKey: "own"}
	req = proto.CloneOf(said)
	if err := wire.ObserveHeaders(req, get(all)); err != nil {
		t.Fatal(err)
	}
	equal(t, req, said)
	for header, value := range map[string]string{wire.HeaderAck: "later", wire.HeaderDeadline: "1s"} {
		refused(t, wire.ObserveHeaders(new(api.ObserveRequest), get(map[string]string{header: value})), wire.CodeInvalidArgument, header)
	}
}

func TestEncodeObserve(t *testing.T) {
	resp := &api.ObserveResponse{Results: []*api.ObserveResult{
		{Id: "a", Position: "e.0:1", Duplicate: true, Searchable: true},
		{Id: "b", Error: &api.Error{Code: "deadline", Message: "m", Field: "f", RetryAfterMs: 5}},
	}}
	b, err := wire.EncodeObserve(wire.JSON, resp, false)
	const want = `{"results":[{"id":"a","position":"e.0:1","duplicate":true,"searchable":true},` +
		`{"id":"b","error":{"code":"deadline","message":"m","field":"f","retry_after_ms":5}}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	resp.Results = resp.Results[:1]
	if b, err = wire.EncodeObserve(wire.JSON, resp, true); err != nil || string(b) != `{"id":"a","position":"e.0:1","duplicate":true,"searchable":true}` {
		t.Errorf("single: %s, %v", b, err)
	}
	if b, err = wire.EncodeObserve(wire.JSON, &api.ObserveResponse{}, false); err != nil || string(b) != `{"results":[]}` {
		t.Errorf("none: %s, %v", b, err)
	}
	got := new(api.ObserveResponse)
	if b, err = wire.EncodeObserve(wire.Protobuf, resp, true); err != nil || proto.Unmarshal(b, got) != nil {
		t.Fatal(err)
	}
	equal(t, got, resp)
}

func TestForget(t *testing.T) {
	want := &api.ForgetRequest{
		Space: "demo", Ids: []string{"a", "b"}, All: true, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE, DeadlineMs: 5, IdempotencyKey: "k",
	}
	got, err := wire.DecodeForget(wire.JSON, []byte(`{"space":"demo","ids":["a","b"],"all":true,"acknowledgement":"searchable","deadline_ms":5,"idempotency_key":"k"}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	b, merr := proto.Marshal(want)
	if merr != nil {
		t.Fatal(merr)
	}
	if got, err = wire.DecodeForget(wire.Protobuf, b); err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	for body, field := range map[string]string{
		`{"ids":"a"}`: "ids", `{"ids":[5]}`: "ids", `{"all":1}`: "all", `{"id":"a"}`: "id", `[]`: "", `{}{}`: "",
	} {
		_, err := wire.DecodeForget(wire.JSON, []byte(body))
		refused(t, err, wire.CodeMalformed, field)
	}
	_, err = wire.DecodeForget(wire.JSON, []byte(`{"acknowledgement":"x"}`))
	refused(t, err, wire.CodeInvalidArgument, "acknowledgement")
	_, err = wire.DecodeForget(wire.Protobuf, []byte{0xff})
	refused(t, err, wire.CodeMalformed, "")

	b, err = wire.EncodeForget(wire.JSON, &api.ForgetResponse{Position: "e.0:1", Searchable: true})
	if err != nil || string(b) != `{"position":"e.0:1","searchable":true}` {
		t.Errorf("%s, %v", b, err)
	}
	resp := new(api.ForgetResponse)
	if b, err = wire.EncodeForget(wire.Protobuf, &api.ForgetResponse{Position: "e.0:1"}); err != nil || proto.Unmarshal(b, resp) != nil || resp.GetPosition() != "e.0:1" {
		t.Errorf("%v, %v", resp, err)
	}
}

// Where an answer is written, every number that it can hold is JSON.
func TestNumbersOfAnswersAreJSON(t *testing.T) {
	for _, x := range []float32{0, 1e-45, 3.4028235e38, -1, 1e21, 1e-7} {
		b, err := wire.EncodeObservationJSON(&api.Observation{Embedding: f32(x)})
		if err != nil || !json.Valid(b) {
			t.Errorf("%v: %s, %v", x, b, err)
		}
	}
	if _, err := wire.EncodeObservationJSON(&api.Observation{Embedding: f32(nan())}); err == nil {
		t.Error("NaN was written")
	}
}
