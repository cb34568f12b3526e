package filter_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/wire"
)

// observation is one in which every field that an expression can ask for is set, and others are in their way.
func observation() *api.Observation {
	metadata, _ := wire.MetadataFrom(map[string]any{"service": "api", "attempt": 3, "paged": true, "empty": "", "dotted.key": 1.5})
	return &api.Observation{
		ObservedAt: time.Date(2026, 1, 2, 15, 4, 5, 6, time.UTC).UnixNano(), Text: strings.Repeat("text ", 100), Metadata: metadata,
		Priority: api.Priority_PRIORITY_HIGH, Importance: 0.75, ExpiresAt: 5, Session: "pod-7", Sequence: 12,
	}
}

func body(t testing.TB, o *api.Observation) []byte {
	t.Helper()
	b, err := proto.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compiler(t testing.TB) *filter.Compiler {
	t.Helper()
	c, err := filter.NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMatch(t *testing.T) {
	c, full, empty := compiler(t), body(t, observation()), []byte(nil)
	for source, want := range map[string]bool{
		`true`: true, `false`: false,
		`metadata.service == "api"`: true, `metadata["service"] == 'api' && metadata.attempt == 3`: true, `metadata.attempt == 3.0`: true,
		`metadata.attempt == 4`: false, `metadata.attempt > 2 && metadata.attempt < 3.5`: true, `metadata.attempt in [1, 2, 3]`: true,
		`metadata.paged`: true, `!metadata.paged`: false, `metadata.service`: false,
		`has(metadata.service)`: true, `has(metadata.nobody)`: false, `"service" in metadata`: true, `"nobody" in metadata`: false,
		`metadata.nobody == 1`: false, `!(metadata.nobody == 1)`: false, `metadata.nobody == 1 || metadata.paged`: true,
		`metadata.service > 3`: false, `metadata.empty == ""`: true, `metadata["dotted.key"] == 1.5`: true,
		`size(metadata) == 5`: true, `metadata.exists(k, k == "paged")`: true, `metadata.all(k, k != "nobody")`: true, `metadata == metadata`: true,
		`metadata == {"a": 1}`: false, `type(metadata) == map`: true,
		`importance > 0.5`: true, `importance >= 1`: false, `id == "x"`: true, `id.startsWith("x") && id.matches("^x$")`: true,
		`priority == "high"`: true, `session == "pod-7"`: true, `sequence == 12`: true,
		`time == timestamp("2026-01-02T15:04:05.000000006Z")`: true, `observed_at < timestamp("2026-01-02T00:00:00Z")`: false,
		`time.getHours() == 15`: true, `time.getHours("Asia/Tokyo") == 0`: true, `time > timestamp("2026-01-02T00:00:00Z") - duration("24h")`: true,
	} {
		f, err := c.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := f.Match("x", full); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", source, got, err, want)
		}
		if _, err := f.Match("", empty); err != nil {
			t.Errorf("%s, of nothing: %v", source, err)
		}
	}
	// What was not given has the value that the contract says.
	f, err := c.Compile(`importance == 0.0 && priority == "normal" && session == "" && sequence == 0 && size(metadata) == 0 && time == timestamp("1970-01-01T00:00:00Z")`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match("", empty); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestRefusals(t *testing.T) {
	c := compiler(t)
	list := "[" + strings.Repeat("1,", 9) + "1]"
	for source, want := range map[string]filter.Error{
		"":                                     {Line: 1, Column: 1},
		"id ==":                                {Line: 1, Column: 6},
		"true &&\n nobody > 1":                 {Line: 2, Column: 2},
		`importance == "x"`:                    {Line: 1, Column: 12},
		`1 + 1`:                                {},
		strings.Repeat("x", event.MaxFilter+1): {},
		fmt.Sprintf("%s.map(a, %s.map(b, %s.map(c, %s.map(d, a+b)))).size() > 0", list, list, list, list): {Costly: true},
	} {
		_, err := c.Compile(source)
		var e *filter.Error
		if !errors.As(err, &e) || e.Costly != want.Costly || e.Line != want.Line || e.Line > 0 && e.Column != want.Column || len(e.Message) < 5 {
			t.Errorf("%.40q: %+v; want %+v", source, e, want)
			continue
		}
		if w := e.Wire(); w.Field != "filter" || e.Costly != (w.Code == wire.CodeFilterCostly) || w.Code != wire.CodeFilterCostly && w.Code != wire.CodeFilterInvalid {
			t.Errorf("%.40q: %v", source, w)
		}
	}
	if _, err := c.Compile(strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000)); err == nil {
		t.Error("an expression that is nested 2,000 deep is taken")
	}
}

// An expression that may cost too much is watched while it runs, and one observation for which it does is an error.
func TestCostWhileItRuns(t *testing.T) {
	c := compiler(t)
	f, err := c.Compile(`metadata.all(a, metadata.all(b, metadata.all(c, a + b + c != "nobody")))`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match("x", body(t, observation())); !ok || err != nil {
		t.Errorf("five keys: %v, %v", ok, err)
	}
	raw := map[string]any{}
	for i := range event.MaxMetadataKeys {
		raw[fmt.Sprint("key ", i)] = true
	}
	o := observation()
	o.Metadata, _ = wire.MetadataFrom(raw)
	var e *filter.Error
	if _, err := f.Match("x", body(t, o)); !errors.As(err, &e) || !e.Costly {
		t.Errorf("%d keys: %v", len(raw), err)
	}
}

// Of many expressions those used last are kept, and what is compiled is used by many at once.
func TestManyExpressions(t *testing.T) {
	c, b := compiler(t), body(t, observation())
	first, err := c.Compile("sequence == 12")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 300 {
				f, err := c.Compile(fmt.Sprintf("sequence == %d", i*(g+1)%400))
				if err != nil {
					t.Error(err)
					return
				}
				if ok, err := f.Match("x", b); err != nil || ok != (i*(g+1)%400 == 12) {
					t.Errorf("%s: %v, %v", f.Source(), ok, err)
				}
				if _, err := c.Compile("sequence == 12"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if again, _ := c.Compile("sequence == 12"); again != first {
		t.Error("one that was used all the time was not kept")
	}
	if n := c.Len(); n > 256 {
		t.Errorf("%d are kept", n)
	}
}

// The scanner of fields knows the numbers of the message.
func TestFieldNumbers(t *testing.T) {
	fields := new(api.Observation).ProtoReflect().Descriptor().Fields()
	for name, number := range map[string]int{"observed_at": 3, "metadata": 6, "priority": 7, "importance": 8, "session": 10, "sequence": 11} {
		if f := fields.ByName(protoreflect.Name(name)); f == nil || int(f.Number()) != number {
			t.Errorf("%s is not field %d", name, number)
		}
	}
}

func FuzzFilter(f *testing.F) {
	full := body(f, observation())
	for _, source := range []string{
		`metadata.service == "api"`, `time > timestamp("2026-01-02T00:00:00Z")`, `metadata.exists(k, metadata[k] == 3)`, `id.matches("a*b")`,
		`[1,2].map(x, x*2).exists(y, y == sequence)`, "\x00", `"`, `metadata[1]`, `{1: 2}[1] == 2`,
	} {
		f.Add(source, full)
		f.Add(source, []byte("\x32\x03\x0a\x01a\x42"))
	}
	c := compiler(f)
	f.Fuzz(func(t *testing.T, source string, row []byte) {
		got, err := c.Compile(source)
		var e *filter.Error
		if err != nil {
			if !errors.As(err, &e) || e.Message == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		first, err := got.Match("id", row)
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		if second, _ := got.Match("id", row); first != second {
			t.Fatalf("%s says %v, then %v", source, first, second)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	c, row := compiler(b), body(b, observation())
	for name, source := range map[string]string{
		"importance": `importance > 0.5`,
		"metadata":   `metadata.service == "api"`,
		"three":      `metadata.service == "api" && metadata.attempt > 2 && time > timestamp("2026-01-01T00:00:00Z")`,
		"keys":       `metadata.exists(k, k == "nobody")`,
	} {
		f, err := c.Compile(source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Match("x", row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("decoded whole", func(b *testing.B) { // what it would take to decode the row, before anything is asked of it
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(row, new(api.Observation)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
