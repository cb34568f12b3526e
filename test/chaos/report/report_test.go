package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/report"
)

func TestRowsAreWrittenInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	const frame = "# Title\n\n<!-- faults: begin -->\n<!-- faults: end -->\n\nMore.\n"
	if err := os.WriteFile(path, []byte(frame), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []report.Row{
		{Fault: "one", Seed: 1, Accepted: 5, Reads: 7, Staleness: 1500 * time.Millisecond, Recovery: 12300 * time.Millisecond, Command: "run one"},
		{Fault: "two", Seed: 2, Command: "run two"},
		{Fault: "one", Seed: 3, Accepted: 6, Lost: 1, Duplicated: 2, Reads: 8, Failed: 3, Command: "run one"},
	}
	for _, r := range rows {
		if err := report.Write(path, r); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.HasPrefix(text, "# Title\n\n<!-- faults: begin -->\n| fault |") || !strings.HasSuffix(text, "<!-- faults: end -->\n\nMore.\n") {
		t.Errorf("around the table the document is\n%s", text)
	}
	one := "| one | 3 | 6 | 1 | 2 | 8 | 3 | 0.00 s | 0.00 s | `run one` |\n"
	two := "| two | 2 | 0 | 0 | 0 | 0 | 0 | 0.00 s | 0.00 s | `run two` |\n"
	if !strings.Contains(text, one+two) || strings.Count(text, "| one |") != 1 || strings.Count(text, "| fault |") != 1 {
		t.Errorf("the table is\n%s", text)
	}
	if s := rows[0].String(); !strings.Contains(s, "| 1.50 s | 12.3 s |") {
		t.Errorf("a row is %s", s)
	}
}

func TestADocumentWithoutATableIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("# Title\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(path, report.Row{Fault: "one"}); err == nil || !strings.Contains(err.Error(), "faults: begin") {
		t.Errorf("the error is %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "# Title\n" {
		t.Errorf("the document is %q, %v", data, err)
	}
	if err := report.Write(filepath.Join(t.TempDir(), "none.md"), report.Row{}); err == nil {
		t.Error("a row was written into nothing")
	}
}
