package worker

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// poisoned is a message of the log that cannot be applied.
type poisoned struct {
	name, subject string
	data          []byte
	reason        wire.Code
}

// poisons are messages of the log that cannot be applied where space "a" has dimension 3 and "b" is not defined, with
// the reason of each. The subject is that of "a" unless it says something else.
func poisons(t testing.TB) []poisoned {
	encode := func(e *api.LogEvent) []byte {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	with := func(change func(*api.Observation)) []byte {
		e := observe("a", "x", 1, 2, 3)
		change(e.GetObserve())
		return encode(e)
	}
	defined := func(change func(*api.SpaceDefinition)) []byte {
		e := define("a", 3)
		e.GetDefine().Generation = 2
		change(e.GetDefine())
		return encode(e)
	}
	a, nan, inf := bus.LogSubject(0, "a"), float32(math.NaN()), float32(math.Inf(1))
	// Field 1, a string, of an Observation that is none.
	notUTF8 := append([]byte{0x0a, byte(len("\x0a\x01\xff"))}, "\x0a\x01\xff"...)
	return []poisoned{
		{"not protobuf", a, []byte("\xff\xff\xff"), wire.CodeMalformed},
		{"text that is not UTF-8", a, notUTF8, wire.CodeMalformed},
		{"empty", a, nil, wire.CodeMalformed},
		{"a kind of the future", a, []byte{0x7a, 0x00}, wire.CodeMalformed},
		{"subject without a space", "engram.log.0.A", encode(observe("a", "x", 1, 2, 3)), wire.CodeInvalidSpace},
		{"subject with two tokens", "engram.log.0.a.b", encode(observe("a", "x", 1, 2, 3)), wire.CodeInvalidSpace},
		{"another space than its subject", a, with(func(o *api.Observation) { o.Space = "b" }), wire.CodeInvalidSpace},
		{"a forget for another space", a, encode(&api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "b", Ids: []string{"x"}}}}), wire.CodeInvalidSpace},
		{"a drop of another space", a, encode(&api.LogEvent{Event: &api.LogEvent_Drop{Drop: &api.DropEvent{Space: "b", Generation: 1}}}), wire.CodeInvalidSpace},
		{"a space that is not defined", bus.LogSubject(0, "b"), encode(observe("b", "x", 1)), wire.CodeUnknownSpace},
		{"a forget in a space that is not defined", bus.LogSubject(0, "b"), encode(&api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "b", Ids: []string{"x"}}}}), wire.CodeUnknownSpace},
		{"no id", a, with(func(o *api.Observation) { o.Id = "" }), wire.CodeInvalidID},
		{"a long id", a, with(func(o *api.Observation) { o.Id = strings.Repeat("x", event.MaxID+1) }), wire.CodeInvalidID},
		{"two of three components", a, with(func(o *api.Observation) { o.Embedding = embedding(1, 2) }), wire.CodeWrongDimension},
		{"no embedding", a, with(func(o *api.Observation) { o.Embedding = nil }), wire.CodeInvalidEmbedding},
		{"half a component", a, with(func(o *api.Observation) { o.Embedding.Data = o.Embedding.Data[:10] }), wire.CodeInvalidEmbedding},
		{"NaN", a, with(func(o *api.Observation) { o.Embedding = embedding(1, nan, 3) }), wire.CodeInvalidEmbedding},
		{"infinite", a, with(func(o *api.Observation) { o.Embedding = embedding(1, inf, 3) }), wire.CodeInvalidEmbedding},
		{"a zero vector for cosine", a, with(func(o *api.Observation) { o.Embedding = embedding(0, 0, 0) }), wire.CodeInvalidEmbedding},
		{"an unknown encoding", a, with(func(o *api.Observation) { o.Embedding.Encoding = 99 }), wire.CodeUnknownEncoding},
		{"an unknown priority", a, with(func(o *api.Observation) { o.Priority = 99 }), wire.CodeInvalidArgument},
		{"a long text", a, with(func(o *api.Observation) { o.Text = strings.Repeat("x", event.MaxText+1) }), wire.CodeTooLarge},
		{"a definition without a dimension", a, defined(func(d *api.SpaceDefinition) { d.Dimension = 0 }), wire.CodeInvalidArgument},
		{"a definition with an unknown metric", a, defined(func(d *api.SpaceDefinition) { d.Metric = 99 }), wire.CodeInvalidArgument},
		{"a metric that is cosine modulo 256", a, defined(func(d *api.SpaceDefinition) { d.Metric = 257 }), wire.CodeInvalidArgument},
		{"a definition with an unknown engine", a, defined(func(d *api.SpaceDefinition) { d.Engine = "warp" }), wire.CodeInvalidArgument},
		{"a definition with vectors of the future", a, defined(func(d *api.SpaceDefinition) { d.Vectors = 99 }), wire.CodeInvalidArgument},
		{"vectors that are f32 modulo 256", a, defined(func(d *api.SpaceDefinition) { d.Vectors = 257 }), wire.CodeInvalidArgument},
		{"a definition of another space", a, defined(func(d *api.SpaceDefinition) { d.Name = "b" }), wire.CodeInvalidSpace},
	}
}

// accept does with a message what fetching does with it.
func accept(store *vecstore.Shard, subject string, data []byte, sequence uint64) (e vecstore.Event, high bool, refused *wire.Error) {
	e.Sequence = sequence
	high, refused = decode(subject, data, store.Definition, &e)
	if refused == nil {
		if err := store.Appender().Add(&e); err != nil {
			refused = storeError(err)
		}
	}
	return e, high, refused
}

func storeWith(t testing.TB, space string, dim uint32, change ...func(*api.SpaceDefinition)) *vecstore.Shard {
	t.Helper()
	store, _, err := vecstore.Open(t.TempDir(), vecstore.Source{Epoch: "e"}, vecstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	def := define(space, dim)
	for _, c := range change {
		c(def.GetDefine())
	}
	data, err := proto.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, refused := accept(store, bus.LogSubject(0, space), data, 1); refused != nil {
		t.Fatal(refused)
	}
	return store
}

func TestPoisonIsRefusedWithItsReason(t *testing.T) {
	store := storeWith(t, "a", 3)
	for i, p := range poisons(t) {
		_, _, refused := accept(store, p.subject, p.data, uint64(i)+2)
		switch {
		case refused == nil:
			t.Errorf("%s: was accepted", p.name)
		case refused.Code != p.reason:
			t.Errorf("%s: %v, want the reason %s", p.name, refused, p.reason)
		case refused.Message == "":
			t.Errorf("%s: no message", p.name)
		}
	}
	if def, ok := store.Definition("a"); !ok || def.Generation != 1 || def.Dimension != 3 {
		t.Errorf("space a is now %+v", def)
	}
	if _, ok := store.Definition("b"); ok {
		t.Error("space b exists")
	}
}

// What the gateway refuses for a space of f16 the worker refuses as well, in the same words.
func TestPoisonOfASpaceOfF16(t *testing.T) {
	store := storeWith(t, "a", 2, func(d *api.SpaceDefinition) { d.Vectors = api.Vectors_VECTORS_F16 })
	for i, v := range [][]float32{{1, 65520}, {1e-9, 0}, {65519, 1e-9}} {
		data, err := proto.Marshal(observe("a", "x", v...))
		if err != nil {
			t.Fatal(err)
		}
		_, _, refused := accept(store, bus.LogSubject(0, "a"), data, uint64(i)+2)
		if i == 2 {
			if refused != nil {
				t.Errorf("%v: %v", v, refused)
			}
			continue
		}
		if refused == nil || refused.Code != wire.CodeInvalidEmbedding || !strings.Contains(refused.Message, event.ErrNotF16.Error()) {
			t.Errorf("%v: %v", v, refused)
		}
	}
}

func TestDecodeKeepsWhatItReads(t *testing.T) {
	store := storeWith(t, "a", 3)
	in := observe("a", "x", 1, 2, 3)
	in.GetObserve().Priority, in.GetObserve().ExpiresAt = api.Priority_PRIORITY_HIGH, 77
	in.GetObserve().Metadata = map[string]*api.Value{"n": {Kind: &api.Value_Number{Number: 3}}}
	data, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	e, high, refused := accept(store, bus.LogSubject(0, "a"), data, 2)
	if refused != nil {
		t.Fatal(refused)
	}
	if !high || e.ID != "x" || e.Space != "a" || e.ExpiresAt != 77 || string(e.Vector) != string(in.GetObserve().GetEmbedding().GetData()) {
		t.Errorf("high %t, event %+v", high, e)
	}
	body := new(api.Observation)
	if err := proto.Unmarshal(e.Body, body); err != nil {
		t.Fatal(err)
	}
	want := proto.CloneOf(in.GetObserve())
	want.Id, want.Space, want.Embedding = "", "", nil
	if !proto.Equal(body, want) {
		t.Errorf("the body is %v, want %v", body, want)
	}
}

// What the log says of a space is what the store is told, and what is told to those who ask.
func TestDefinitionsPassThrough(t *testing.T) {
	for vectors, want := range map[api.Vectors]vecstore.Vectors{
		api.Vectors_VECTORS_F32: vecstore.VectorsF32, api.Vectors_VECTORS_F16: vecstore.VectorsF16, api.Vectors_VECTORS_NONE: vecstore.VectorsNone,
	} {
		for metric, wantMetric := range map[api.Metric]vecstore.Metric{
			api.Metric_METRIC_COSINE: vecstore.Cosine, api.Metric_METRIC_DOT: vecstore.Dot, api.Metric_METRIC_L2: vecstore.L2,
		} {
			in := &api.SpaceDefinition{
				Name: "a", Dimension: 7, Metric: metric, Embedder: "none", Generation: 3, Engine: "hnsw", CreatedAt: 9, Vectors: vectors,
			}
			d, refused := definitionOf(in)
			if refused != nil || d.Vectors != want || d.Metric != wantMetric {
				t.Fatalf("%v is %+v, %v", in, d, refused)
			}
			if out := definitionMessage(d); !proto.Equal(out, in) {
				t.Errorf("%v came back as %v", in, out)
			}
		}
	}
	// From before there was a choice.
	if d, refused := definitionOf(&api.SpaceDefinition{Name: "a", Dimension: 1}); refused != nil || d.Vectors != vecstore.VectorsF32 || d.Metric != vecstore.Cosine {
		t.Errorf("%+v, %v", d, refused)
	}
}

// Whatever is in the log, decoding neither panics nor accepts what the store then chokes on.
func FuzzDecode(f *testing.F) {
	for _, p := range poisons(f) {
		f.Add(p.subject, p.data)
	}
	good, err := proto.Marshal(observe("a", "x", 1, 2, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bus.LogSubject(0, "a"), good)
	store := storeWith(f, "a", 3)
	sequence := uint64(1)
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		sequence++
		e, _, refused := accept(store, subject, data, sequence)
		if err := store.Appender().Flush(); err != nil {
			t.Fatal(err)
		}
		if refused != nil || e.SpaceKey() == nil {
			return
		}
		if n, err := store.Apply([]*vecstore.Event{&e}, 0); n != 1 || err != nil {
			t.Fatalf("accepted, and not applied: %v", err)
		}
	})
}
