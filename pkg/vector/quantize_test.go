package vector

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantizeI8(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 300 {
			v := floats(rng, n)
			checkQuantize(t, l, v)
			code := make([]int8, n)
			scale := l.QuantizeI8(code, v)
			back := make([]float32, n)
			l.DequantizeI8(back, code, scale)
			for i, x := range v {
				if want := float32(code[i]) * scale; back[i] != want {
					t.Fatalf("length %d: element %d is %v, want %v", n, i, back[i], want)
				}
				if off := math.Abs(float64(x - back[i])); off > 0.5001*float64(scale) {
					t.Fatalf("length %d: element %d was %v and came back as %v, at a scale of %v", n, i, x, back[i], scale)
				}
			}
		}
	})
}

// checkQuantize compares with what the generic kernels make of any bits, and with the range that is promised.
func checkQuantize(t *testing.T, l level, v []float32) {
	t.Helper()
	got, want := slices.Repeat([]int8{99}, len(v)+1), make([]int8, len(v))
	scale, wantScale := l.QuantizeI8(got, v), generic.QuantizeI8(want, v)
	if scale != wantScale || !slices.Equal(got[:len(v)], want) {
		t.Fatalf("length %d: scale %v, codes %v; generic: %v, %v; of %v", len(v), scale, got, wantScale, want, v)
	}
	if got[len(v)] != 99 {
		t.Fatalf("length %d: wrote behind the codes", len(v))
	}
	if slices.Contains(want, -128) {
		t.Fatalf("a code of -128 for %v", v)
	}
}

func TestQuantizeI8Values(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name  string
		v     []float32
		want  []int8
		scale float32
	}{
		{"zero", []float32{0, 0}, []int8{0, 0}, 0},
		{"both ends", []float32{1, -1, 0.5}, []int8{127, -127, 64}, 1 / float32(127)},
		{"ties go to even", []float32{127, 0.5, 1.5, 2.5, -0.5, -1.5}, []int8{127, 0, 2, 2, 0, -2}, 1},
		{"a scale that is zero", []float32{1e-45, -1e-45}, []int8{0, 0}, 0},
		{"a scale that is subnormal", []float32{1e-37, 1e-38}, []int8{0, 0}, 0},
		{"the largest", []float32{math.MaxFloat32, -math.MaxFloat32}, []int8{127, -127}, math.MaxFloat32 / 127},
		{"infinity", []float32{inf, 1}, []int8{0, 0}, 0},
		{"not a number", []float32{nan, 1, -nan}, []int8{0, 127, 0}, 1 / float32(127)},
		{"nothing", []float32{}, []int8{}, 0},
	} {
		forLevels(t, func(t *testing.T, l level) {
			for _, times := range []int{1, 32} { // as few as Go does, and as many as a kernel does
				v, want := slices.Repeat(c.v, times), slices.Repeat(c.want, times)
				got := make([]int8, len(v))
				if scale := l.QuantizeI8(got, v); scale != c.scale || !slices.Equal(got, want) {
					t.Errorf("%s, %d times: scale %v, codes %v, want %v, %v", c.name, times, scale, got, c.scale, want)
				}
			}
		})
	}
}

func TestRowsOfHalves(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		halves := make([]byte, 0, 2<<16)
		for h := range 1 << 16 {
			halves = binary.LittleEndian.AppendUint16(halves, uint16(h))
		}
		all := make([]float32, 1<<16)
		l.DecodeF16(all, halves)
		for h, got := range all {
			if want := F16ToF32(uint16(h)); math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("half %#04x is %v, want %v", h, got, want)
			}
		}
		rng := rand.New(rand.NewPCG(2, 2))
		for range 1000 {
			v := make([]float32, rng.IntN(64))
			for i := range v {
				v[i] = math.Float32frombits(rng.Uint32())
				if rng.IntN(2) == 0 { // near the halves, where rounding has something to do
					v[i] = math.Float32frombits(0x33000000 + rng.Uint32N(0x14800000))
				}
			}
			checkHalves(t, l, v)
		}
	})
}

func checkHalves(t *testing.T, l level, v []float32) {
	t.Helper()
	b := slices.Repeat([]byte{0xaa}, 2*len(v)+2)
	l.EncodeF16(b, v)
	for i, x := range v {
		if got, want := binary.LittleEndian.Uint16(b[2*i:]), F32ToF16(x); got != want {
			t.Fatalf("length %d: element %d, %v, is the half %#04x, want %#04x", len(v), i, x, got, want)
		}
	}
	if b[2*len(v)] != 0xaa {
		t.Fatalf("length %d: wrote behind the halves", len(v))
	}
	back := slices.Repeat([]float32{99}, len(v)+1)
	l.DecodeF16(back[:len(v)], b)
	for i, got := range back[:len(v)] {
		if want := F16ToF32(binary.LittleEndian.Uint16(b[2*i:])); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("length %d: element %d is %v, want %v", len(v), i, got, want)
		}
	}
	if back[len(v)] != 99 {
		t.Fatalf("length %d: wrote behind the floats", len(v))
	}
}

func TestConversionsRefuse(t *testing.T) {
	v, code, b := make([]float32, 64), make([]int8, 64), make([]byte, 128)
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"QuantizeI8", func(l level) { l.QuantizeI8(code[:63], v) }},
		{"DequantizeI8", func(l level) { l.DequantizeI8(v[:63], code, 1) }},
		{"DecodeF16", func(l level) { l.DecodeF16(v, b[:127]) }},
		{"EncodeF16", func(l level) { l.EncodeF16(b[:127], v) }},
	} {
		forLevels(t, func(t *testing.T, l level) { mustPanic(t, c.name, func() { c.call(l) }) })
	}
}

func FuzzConversions(f *testing.F) {
	f.Add([]byte("a float32 is four of these bytes"), uint8(1))
	f.Add(make([]byte, 4*70), uint8(3))
	f.Add(binary.LittleEndian.AppendUint32(nil, 0x7f800001), uint8(80))
	f.Fuzz(func(t *testing.T, bits []byte, times uint8) {
		v := make([]float32, len(bits)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(bits[4*i:]))
		}
		v = slices.Repeat(v, 1+int(times)%80)
		for _, l := range levels() {
			checkQuantize(t, l, v)
			checkHalves(t, l, v)
		}
	})
}
