package config

import "testing"

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "0B": 0, "17": 17, "512B": 512, "1KiB": 1024, "1.5KiB": 1536, "1KB": 1000, "64MiB": 64 << 20, "64 mib": 64 << 20,
		"2GB": 2e9, "3TiB": 3 << 40, "9223372036854775807": 1<<63 - 1, "1e3": 1000, "0.5KB": 500,
	} {
		var got ByteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", text, int64(got), err, int64(want))
		}
		var again ByteSize
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%d prints as %s, which reads as %d (%v)", int64(got), got, int64(again), err)
		}
	}
	for _, text := range []string{
		"", "B", "KiB", "-1", "-1KiB", "1.0001KB2", "0.5B", "9223372036854775808", "8388608TiB", "1e300", "NaN", "Inf", "1 2", "64Mi", "0x10",
	} {
		got := ByteSize(5)
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d, want an error", text, int64(got))
		}
	}
}
