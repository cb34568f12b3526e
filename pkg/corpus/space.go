package corpus

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// maxSpace is the longest name that a space can have: [a-z0-9][a-z0-9_-]{0,62}.
const maxSpace = 63

// SpaceName makes a legal space name of any string: lower case, each run of illegal characters one "-", none at the
// ends, at most 63 bytes. A string with nothing legal in it, such as one of Chinese characters only, becomes "space-"
// and eight hexadecimal digits of its FNV-1a hash, so that two of them stay apart. Different strings may get the same
// name ("A b" and "a-b"); documents of both then share a space.
func SpaceName(s string) string {
	var b strings.Builder
	gap := false
	for i := 0; i < len(s) && b.Len() < maxSpace; i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		switch {
		case alnum, (c == '_' || c == '-') && b.Len() > 0:
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteByte(c)
		default:
			gap = true
		}
	}
	name := b.String()
	name = strings.TrimRight(name[:min(len(name), maxSpace)], "-_")
	if name == "" {
		h := fnv.New32a()
		h.Write([]byte(s))
		return fmt.Sprintf("space-%08x", h.Sum32())
	}
	return name
}
