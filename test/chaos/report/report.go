// Package report writes what faults have done into a table of a document, one row a fault, and leaves the rest of it alone.
package report

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The table stands between these lines of the document.
const (
	begin = "<!-- faults: begin -->"
	end   = "<!-- faults: end -->"
)

const head = `| fault | seed | observations accepted | lost | duplicated | reads | failed within 5 s | longest staleness | time to recover | command |
|---|---|---|---|---|---|---|---|---|---|
`

// Row is one fault.
type Row struct {
	Fault      string
	Seed       uint64
	Accepted   int
	Lost       int
	Duplicated int
	Reads      int
	Failed     int // of the reads, within the deadline of their client
	Staleness  time.Duration
	Recovery   time.Duration
	Command    string
}

func (r Row) String() string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %s | %s | `%s` |\n",
		r.Fault, r.Seed, r.Accepted, r.Lost, r.Duplicated, r.Reads, r.Failed, seconds(r.Staleness), seconds(r.Recovery), r.Command)
}

// seconds has two digits below ten seconds, and one above.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Write puts a row into the document's table, in the place of an older one of the same fault, else behind the others.
func Write(path string, row Row) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the document for the table of faults: %w", err)
	}
	before, rest, ok := strings.Cut(string(text), begin+"\n")
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %q and %q for the table to stand between", path, begin, end)
	}
	rows := slices.DeleteFunc(strings.SplitAfter(strings.TrimPrefix(table, head), "\n"), func(line string) bool { return line == "" })
	at := slices.IndexFunc(rows, func(line string) bool { return strings.HasPrefix(line, "| "+row.Fault+" |") })
	if at < 0 {
		rows = append(rows, row.String())
	} else {
		rows[at] = row.String()
	}
	out := before + begin + "\n" + head + strings.Join(rows, "") + end + after
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		return fmt.Errorf("writing the table of faults: %w", err)
	}
	return nil
}
