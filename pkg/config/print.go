package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// printYAML writes every key with its usage and the source of its value. Loading
// the output gives the same struct, except for secrets: those are left out as
// comments, since a mask in their place would be taken for the secret itself.
func (b *Binding) printYAML(w io.Writer) error {
	var out bytes.Buffer
	var open []string // the sections around the line before
	for _, k := range b.keys {
		path := strings.Split(k.name, ".")
		sections, name := path[:len(path)-1], path[len(path)-1]
		for depth, section := range sections {
			if depth >= len(open) || open[depth] != section {
				open = open[:min(depth, len(open))]
				fmt.Fprintf(&out, "%s%s:\n", indent(depth), section)
				open = append(open, section)
			}
		}
		open = open[:len(sections)]
		margin := indent(len(sections))
		if k.usage != "" {
			fmt.Fprintf(&out, "%s# %s\n", margin, printable(k.usage))
		}
		switch {
		case !k.secret:
			fmt.Fprintf(&out, "%s%s: %s  # %s\n", margin, name, k.yaml(), printable(k.source))
		case k.field.IsZero():
			fmt.Fprintf(&out, "%s# %s: not set; give it in %s\n", margin, name, k.env)
		default:
			fmt.Fprintf(&out, "%s# %s: set by %s and not shown\n", margin, name, printable(k.source))
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// yaml is the value as a plain or quoted scalar, or as a list of those.
func (k *key) yaml() string {
	texts := k.texts()
	if !k.elem.bare {
		for i, text := range texts {
			texts[i] = quote(text)
		}
	}
	if !k.isList() {
		return texts[0]
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// quote writes a YAML double-quoted scalar (YAML 1.2, section 5.7), in which all
// that is not printable is escaped.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// printable keeps a comment on its line, whatever the name of the file is.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
