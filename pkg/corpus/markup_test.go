package corpus

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// show writes sections one paragraph a line: "headings | line: text".
func show(sections []section) []string {
	var out []string
	for _, s := range sections {
		for _, p := range s.paragraphs {
			out = append(out, fmt.Sprintf("%s | %d: %s", strings.Join(s.path, " > "), p.line, p.text))
		}
	}
	return out
}

func TestMarkdownSections(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "\n\n# Only a heading\n", nil},
		{"levels", "before\n# A\na1\na2\n\na3\n### C\nc\n## B ##\nb\n# D\nd", []string{
			" | 1: before", "A | 3: a1 a2", "A | 6: a3", "A > C | 8: c", "A > B | 10: b", "D | 12: d",
		}},
		{"setext", "Title\n=====\nx\n\nSub\n---\ny\n", []string{"Title | 3: x", "Title > Sub | 7: y"}},
		{"break is no heading", "x\n\n---\n\ny\n***\nz", []string{" | 1: x", " | 5: y", " | 7: z"}},
		{"no headings", "#tag\n\n####### seven\n\n    # indented\n", []string{" | 1: #tag", " | 3: ####### seven", " | 5: # indented"}},
		{"fence", "# A\n```sh\n# comment\n\nls\n```\n---\nx\n~~~~\n~~~\n# in\n~~~~\n# B\ny", []string{
			"A | 3: # comment ls", "A | 8: x ~~~ # in", "B | 14: y",
		}},
		{"fence without end", "```\n# a\n", []string{" | 2: # a"}},
		{"inline code is no fence", "```x``` y\n# A\nz", []string{" | 1: ```x``` y", "A | 3: z"}},
		{"front matter", "---\ntitle: x\n---\n# A\nx", []string{"A | 5: x"}},
		{"break at the top", "---\n\nx\n\n---\ny", []string{" | 3: x", " | 6: y"}},
		{"front matter without end", "---\nx\n\ny", []string{" | 2: x", " | 4: y"}},
		{"empty heading", "# A\n##\nx\n# C#\ny\n# # #\nz", []string{"A | 3: x", "C# | 5: y", "# | 7: z"}},
		{"windows", "\uFEFF# A\r\n\r\nx\r\ny\r\n", []string{"A | 3: x y"}},
		{"heading too long", "# " + strings.Repeat("x", 201) + "\ny", []string{" | 1: " + strings.Repeat("x", 201), " | 2: y"}},
	} {
		if d := cmp.Diff(c.want, show(markdownSections(c.in))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestRSTSections(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"levels by first use", "Doc\n===\n\nd\n\nA\n---\na\n\nA1\n~~\na1\n\nB\n---\nb", []string{
			"Doc | 4: d", "Doc > A | 8: a", "Doc > A > A1 | 12: a1", "Doc > B | 16: b",
		}},
		{"overline is another style", "=====\n Doc\n=====\n\nd\n\nA\n=====\na\n", []string{"Doc | 5: d", "Doc > A | 9: a"}},
		{"transition", "x\n\n-----\n\ny\n", []string{" | 1: x", " | 5: y"}},
		{"underline too short", "A long title\n---\nx\n", []string{" | 1: A long title --- x"}},
		{"two lines are no title", "a\nb\n====\nc\n", []string{" | 1: a b ==== c"}},
		{"table", "===  ===\na    b\n===  ===\n", []string{" | 1: === === a b === ==="}},
	} {
		if d := cmp.Diff(c.want, show(rstSections(c.in))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestTextSections(t *testing.T) {
	got := show(textSections("# one\ntwo\n\n \t\n===\n"))
	if d := cmp.Diff([]string{" | 1: # one two", " | 5: ==="}, got); d != "" {
		t.Error(d)
	}
}

func TestGroups(t *testing.T) {
	half := strings.Repeat("x", groupSize/2)
	long := strings.Repeat("wörter ", 2000)
	in := []paragraph{{1, "a"}, {3, "b"}, {5, half}, {7, half}, {9, "c"}, {11, strings.TrimSpace(long)}, {13, "d"}}
	var lines []int
	var all []string
	for _, p := range groups(in, 4096) {
		lines = append(lines, p.line)
		all = append(all, strings.Fields(p.text)...)
		if len(p.text) > 4096 {
			t.Errorf("a text of %d bytes", len(p.text))
		}
	}
	if d := cmp.Diff([]int{1, 7, 11, 11, 11, 11, 13}, lines); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(strings.Fields("a b "+half+" "+half+" c "+long+" d"), all); d != "" {
		t.Errorf("words were lost: %s", d)
	}
}

func FuzzSections(f *testing.F) {
	f.Add("---\na: b\n---\n# A\n```\n# x\n```\nb\n===\n")
	f.Add("====\n A\n====\n\nx\n\nB\n~~\n\xff\r\n")
	f.Add("# " + strings.Repeat("é", 110) + "\nx")
	f.Fuzz(func(t *testing.T, src string) {
		for _, name := range []string{"a.md", "a.rst", "a.txt"} {
			seen := map[string]bool{}
			for _, d := range sectionDocuments(name, sectionsOf(name)(src)) {
				d.Space = "space"
				checkDocument(t, d)
				if seen[d.ID] {
					t.Fatalf("the id %q occurs twice", d.ID)
				}
				seen[d.ID] = true
				_, line, _ := strings.Cut(d.Source, ":")
				if n, err := strconv.Atoi(line); err != nil || n < 1 || n > strings.Count(src, "\n")+1 {
					t.Fatalf("%s: there is no such line", d.Source)
				}
				if !utf8.ValidString(d.Metadata["heading"]) {
					t.Fatalf("%s: invalid heading %q", d.ID, d.Metadata["heading"])
				}
			}
		}
		_, _ = parseGo("a.go", []byte(src))
	})
}
