package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, 0 or more. Its text is a number with an optional unit:
// B, KiB, MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (powers of 1000).
type ByteSize int64

var errByteSize = errors.New("must be a size such as 512KiB, 64MiB or 1GB, 0 or more")

// byteUnits is ordered so that the text of a size uses the largest exact unit.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"B", 1},
}

// UnmarshalText reads a size; fractions are allowed when the result is a whole
// number of bytes (1.5KiB). It refuses negative sizes and those over 2^63-1.
func (s *ByteSize) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range byteUnits {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, unit = strings.TrimSpace(number[:n]), u.bytes
			break
		}
	}
	if whole, err := strconv.ParseUint(number, 10, 63); err == nil {
		if int64(whole) > math.MaxInt64/unit {
			return errByteSize
		}
		*s = ByteSize(int64(whole) * unit)
		return nil
	}
	f, err := strconv.ParseFloat(number, 64)
	// 2^53 is where float64 stops telling neighbouring integers apart.
	if f *= float64(unit); err != nil || !(f >= 0 && f <= 1<<53) || f != math.Trunc(f) {
		return errByteSize
	}
	*s = ByteSize(f)
	return nil
}

// MarshalText is the exact inverse of UnmarshalText.
func (s ByteSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size in the largest unit that leaves a whole number.
func (s ByteSize) String() string {
	for _, u := range byteUnits {
		if n := int64(s); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}
