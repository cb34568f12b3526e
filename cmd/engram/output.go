package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// printJSON prints what one of wire's encoders returned, as a line.
func printJSON(w io.Writer, body []byte, err *wire.Error) error {
	if err != nil {
		return err
	}
	return printed(fmt.Fprintf(w, "%s\n", body))
}

// printed makes the result of a print to stdout an error that says what was not written.
func printed(_ int, err error) error {
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// printTable prints rows of cells below a heading, in columns.
func printTable(w io.Writer, heading []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// snippetRunes is how much of a text a table shows.
const snippetRunes = 80

// snippet is the beginning of a text as one cell.
func snippet(text string) string {
	words := printable(text)
	if runes := []rune(words); len(runes) > snippetRunes {
		return string(runes[:snippetRunes-1]) + "…"
	}
	return words
}

// printable is text as one line without what a terminal would obey.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// moment is a time of an observation, in UTC; empty for none.
func moment(nanos int64) string {
	if nanos == 0 {
		return ""
	}
	return time.Unix(0, nanos).UTC().Format("2006-01-02T15:04:05.000Z")
}

// metadataText is metadata as sorted key=value pairs, values as JSON.
func metadataText(m map[string]*api.Value) string {
	pairs := make([]string, 0, len(m))
	for key, v := range wire.MetadataTo(m) {
		text, err := json.Marshal(v)
		if err != nil {
			continue // no number that JSON cannot hold gets into a space
		}
		pairs = append(pairs, printable(key)+"="+printable(string(text)))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " ")
}

// grouped is a count with its thousands apart.
func grouped[T ~int | ~int64 | ~uint32 | ~uint64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// milliseconds is a duration on the wire for people.
func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) + " ms" }

// plural is a count of things: "1 hit", "2 hits".
func plural[T ~int | ~int64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// redacted takes passwords and tokens out of a list of addresses.
func redacted(addrs string) string {
	list := strings.Split(addrs, ",")
	for i, addr := range list {
		u, err := url.Parse(strings.TrimSpace(addr))
		if err == nil && u.User != nil {
			u.User = url.User("xxxxx")
			list[i] = u.String()
		}
	}
	return strings.Join(list, ",")
}
