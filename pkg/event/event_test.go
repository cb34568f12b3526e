package event_test

import (
	"errors"
	"hash/fnv"
	"math"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vector"
)

func TestValidateSpace(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "0": true, "net-http_2": true, strings.Repeat("x", 63): true,
		"": false, "-a": false, "_a": false, "A": false, "a.b": false, "a b": false, "a*": false, "ä": false,
		strings.Repeat("x", 64): false, "a/b": false, "..": false, "a\x00": false,
	} {
		err := event.ValidateSpace(name)
		if (err == nil) != ok {
			t.Errorf("ValidateSpace(%q) = %v, want legal %t", name, err, ok)
		}
		if err != nil && !errors.Is(err, event.ErrSpaceName) {
			t.Errorf("ValidateSpace(%q): %v does not wrap ErrSpaceName", name, err)
		}
	}
}

func TestShardOfIsFNV1a(t *testing.T) {
	for _, space := range []string{"", "a", "net", "encoding", strings.Repeat("z", 63)} {
		h := fnv.New32a()
		h.Write([]byte(space))
		for _, s := range []int{1, 7, 8, 256} {
			if got, want := event.ShardOf(space, s), int(h.Sum32()%uint32(s)); got != want {
				t.Errorf("ShardOf(%q, %d) = %d, want %d", space, s, got, want)
			}
		}
	}
}

func TestPositionRoundTrip(t *testing.T) {
	for _, p := range []event.Position{{"abc", 0, 0}, {"k7", 255, math.MaxUint64}, {"e", 3, 42}} {
		got, err := event.ParsePosition(p.String())
		if err != nil || got != p {
			t.Errorf("ParsePosition(%q) = %+v, %v", p.String(), got, err)
		}
	}
	for _, s := range []string{"", "a", "a.1", ".1:2", "a.256:1", "a.-1:1", "a.1:x", "a.1:-1", "a.1:18446744073709551616", "a:1.2"} {
		if p, err := event.ParsePosition(s); !errors.Is(err, event.ErrPosition) {
			t.Errorf("ParsePosition(%q) = %+v, %v, want ErrPosition", s, p, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("abc.3:17")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := event.ParsePosition(s)
		if err != nil {
			return
		}
		again, err := event.ParsePosition(p.String())
		if err != nil || again != p {
			t.Fatalf("%q → %+v → %+v, %v", s, p, again, err)
		}
	})
}

func TestCheckF32(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		v       []float32
		nonzero bool
		want    error
	}{
		{[]float32{0, 1}, true, nil},
		{[]float32{0, 0}, false, nil},
		{[]float32{0, float32(math.Copysign(0, -1))}, true, event.ErrZeroVector},
		{[]float32{1, nan}, false, event.ErrNotFinite},
		{[]float32{inf, 1}, true, event.ErrNotFinite},
		{[]float32{math.MaxFloat32, math.SmallestNonzeroFloat32}, true, nil},
	} {
		if err := event.CheckF32(event.AppendF32(nil, c.v), c.nonzero); !errors.Is(err, c.want) {
			t.Errorf("CheckF32(%v, %t) = %v, want %v", c.v, c.nonzero, err, c.want)
		}
	}
}

func TestCheckF16(t *testing.T) {
	for _, c := range []struct {
		v       []float32
		nonzero bool
		want    error
	}{
		{[]float32{65504, -65504, 0}, true, nil},
		{[]float32{math.Nextafter32(65520, 0)}, true, nil}, // rounds to 65504
		{[]float32{1, 65520}, false, event.ErrNotF16},
		{[]float32{1, -65520}, false, event.ErrNotF16},
		{[]float32{math.MaxFloat32}, true, event.ErrNotF16},
		{[]float32{0, 0x1p-25}, true, event.ErrNotF16},
		{[]float32{0, 0x1p-25}, false, nil},
		{[]float32{0, math.Nextafter32(-0x1p-25, -1)}, true, nil},
	} {
		if err := event.CheckF16(event.AppendF32(nil, c.v), c.nonzero); !errors.Is(err, c.want) {
			t.Errorf("CheckF16(%v, %t) = %v, want %v", c.v, c.nonzero, err, c.want)
		}
		// What is said of a rounding is what the rounding does.
		infinite, zero := false, true
		for _, x := range c.v {
			h := vector.F32ToF16(x) &^ 0x8000
			infinite, zero = infinite || h >= 0x7c00, zero && h == 0
		}
		if want := infinite || zero && c.nonzero; want != (c.want != nil) {
			t.Errorf("%v rounds to an infinity: %t, to nothing but zeros: %t", c.v, infinite, zero)
		}
	}
}

func TestF32RoundTrip(t *testing.T) {
	v := []float32{1.5, -2, 0, math.MaxFloat32}
	got := event.DecodeF32(nil, event.AppendF32(nil, v))
	for i := range v {
		if got[i] != v[i] {
			t.Fatalf("got %v, want %v", got, v)
		}
	}
}
