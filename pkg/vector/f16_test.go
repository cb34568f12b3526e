package vector

import (
	"math"
	"testing"
)

// halfValue computes a finite half from the definition in IEEE 754, in float64, by other means than F16ToF32.
func halfValue(h uint16) float64 {
	exp, frac := int(h>>10&0x1f), float64(h&0x3ff)
	v := math.Ldexp(frac, -24)
	if exp != 0 {
		v = math.Ldexp(1024+frac, exp-25)
	}
	if h&0x8000 != 0 {
		v = math.Copysign(v, -1)
	}
	return v
}

func TestF16ToF32Exhaustive(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got := F16ToF32(h)
		neg := h&0x8000 != 0
		switch exp, frac := h>>10&0x1f, h&0x3ff; {
		case exp == 0x1f && frac != 0:
			want := uint32(h&0x8000)<<16 | 0x7fc00000 | uint32(frac)<<13
			if math.Float32bits(got) != want {
				t.Fatalf("F16ToF32(%#04x) = %#08x, want the quiet NaN %#08x", h, math.Float32bits(got), want)
			}
			if back := F32ToF16(got); back != h|0x200 {
				t.Fatalf("NaN %#04x came back as %#04x", h, back)
			}
		case exp == 0x1f:
			if !math.IsInf(float64(got), 1) && !neg || !math.IsInf(float64(got), -1) && neg {
				t.Fatalf("F16ToF32(%#04x) = %v, want an infinity", h, got)
			}
			if back := F32ToF16(got); back != h {
				t.Fatalf("infinity %#04x came back as %#04x", h, back)
			}
		default:
			if want := halfValue(h); float64(got) != want || math.Signbit(float64(got)) != neg {
				t.Fatalf("F16ToF32(%#04x) = %v, want %v", h, got, want)
			}
			if back := F32ToF16(got); back != h {
				t.Fatalf("%#04x = %v came back as %#04x", h, got, back)
			}
		}
	}
}

// TestF32ToF16Rounding walks every gap between two neighbouring halves. Rounding is monotonic, so its midpoint and the
// floats on either side of the midpoint settle every value in the gap.
func TestF32ToF16Rounding(t *testing.T) {
	for lo := uint16(0); lo < 0x7c00; lo++ {
		hi := lo + 1
		next := math.Ldexp(1, 16) // where 0x7c00 would be, were it not an infinity
		if hi < 0x7c00 {
			next = halfValue(hi)
		}
		mid := float32((halfValue(lo) + next) / 2) // exact: one bit more than a half has
		even := lo + lo&1
		for _, sign := range []uint16{0, 0x8000} {
			s := float32(1)
			if sign != 0 {
				s = -1
			}
			for _, c := range []struct {
				in   float32
				want uint16
			}{
				{math.Nextafter32(mid, 0), lo},
				{mid, even},
				{math.Nextafter32(mid, math.MaxFloat32), hi},
			} {
				if got := F32ToF16(s * c.in); got != sign|c.want {
					t.Fatalf("F32ToF16(%v) = %#04x, want %#04x (between %#04x and %#04x)", s*c.in, got, sign|c.want, lo, hi)
				}
			}
		}
	}
}

func TestF32ToF16Extremes(t *testing.T) {
	for _, c := range []struct {
		name string
		bits uint32
		want uint16
	}{
		{"smallest float", 0x00000001, 0x0000},
		{"smallest float, negative", 0x80000001, 0x8000},
		{"largest float", 0x7f7fffff, 0x7c00},
		{"largest float, negative", 0xff7fffff, 0xfc00},
		{"signalling NaN whose payload is lost", 0x7f800001, 0x7e00},
		{"negative NaN with payload", 0xffc02000, 0xfe01},
		{"one", 0x3f800000, 0x3c00},
	} {
		if got := F32ToF16(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("%s: F32ToF16(%#08x) = %#04x, want %#04x", c.name, c.bits, got, c.want)
		}
	}
}
