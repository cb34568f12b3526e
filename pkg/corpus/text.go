package corpus

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// normalise joins the words of s with single spaces and replaces invalid UTF-8. The result shares no memory with s.
func normalise(s string) string {
	words := strings.Fields(s)
	if len(words) == 1 {
		return strings.Clone(strings.ToValidUTF8(words[0], "\uFFFD")) // Join would return the word itself
	}
	return strings.ToValidUTF8(strings.Join(words, " "), "\uFFFD")
}

// cut returns a copy of the longest prefix of s of at most n bytes that ends at a rune boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// pieces splits s, whose words are separated by single spaces, into parts of at most n bytes, between words where there
// are any and at a rune boundary otherwise. n must be at least 4.
func pieces(s string, n int) []string {
	var parts []string
	for len(s) > n {
		part := cut(s, n)
		// A word that ends exactly at n is whole, hence one byte more to look at.
		if i := strings.LastIndexByte(s[:len(part)+1], ' '); i > 0 {
			part = s[:i]
		}
		parts = append(parts, part)
		s = strings.TrimPrefix(s[len(part):], " ")
	}
	if s != "" {
		parts = append(parts, s)
	}
	return parts
}

// slug is a heading as an anchor, in the way of GitHub: lower-case letters, digits, "-" and "_"; a space becomes "-".
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}

// idSet makes ids unique and bounded. It holds each id it returned, with the number to try next for one like it: a file
// may repeat a heading a million times, and counting from 2 each time would take for ever.
type idSet map[string]int

// unique returns id, or id with the first free of "-2", "-3", ... when it was returned before.
func (s idSet) unique(id string) string {
	id = boundID(id)
	free, n := id, max(s[id], 2)
	for s[free] != 0 {
		free = boundID(id + "-" + strconv.Itoa(n))
		n++
	}
	s[id] = n
	if free != id {
		s[free] = 2
	}
	return free
}

// boundID is id when it is at most MaxID bytes of valid UTF-8, and otherwise as much of its start as leaves room for a
// hash of the whole.
func boundID(id string) string {
	if len(id) <= MaxID && utf8.ValidString(id) {
		return id
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	return cut(strings.ToValidUTF8(id, "\uFFFD"), MaxID-17) + fmt.Sprintf("~%016x", h.Sum64())
}
