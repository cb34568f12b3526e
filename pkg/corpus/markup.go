package corpus

import (
	"strings"
)

// section is what stands under one heading, up to the next one.
type section struct {
	path       []string // the headings it is under, outermost first, its own last; empty before the first heading
	paragraphs []paragraph
}

// paragraph is a normalised, non-empty run of lines.
type paragraph struct {
	line int // its first, counted from 1
	text string
}

// outline collects sections while a file is read from top to bottom.
type outline struct {
	sections []section
	stack    []heading // the headings that the next paragraph is under
	lines    []string  // of the paragraph that is not finished
	first    int       // the number of lines[0]
}

// maxTitle is the longest heading, in bytes. What is longer is a paragraph that looks like one, and is kept as text:
// every document below would repeat it.
const maxTitle = 200

type heading struct {
	level int
	title string
}

// line adds a line to the current paragraph.
func (o *outline) line(n int, text string) {
	if len(o.lines) == 0 {
		o.first = n
	}
	o.lines = append(o.lines, text)
}

// end finishes the current paragraph.
func (o *outline) end() {
	text := normalise(strings.Join(o.lines, " "))
	o.lines = nil
	if text == "" {
		return
	}
	if len(o.sections) == 0 {
		o.sections = append(o.sections, section{})
	}
	s := &o.sections[len(o.sections)-1]
	s.paragraphs = append(s.paragraphs, paragraph{o.first, text})
}

// heading finishes the current paragraph and begins a section with the title in line n.
func (o *outline) heading(n, level int, title string) {
	o.end()
	if title = normalise(title); len(title) > maxTitle {
		o.line(n, title)
		o.end()
		return
	}
	for len(o.stack) > 0 && o.stack[len(o.stack)-1].level >= level {
		o.stack = o.stack[:len(o.stack)-1]
	}
	if title != "" {
		o.stack = append(o.stack, heading{level, title})
	}
	s := section{}
	for _, h := range o.stack {
		s.path = append(s.path, h.title)
	}
	o.sections = append(o.sections, s)
}

// textSections reads plain text: paragraphs between blank lines, no headings.
func textSections(src string) []section {
	var o outline
	eachLine(src, func(n int, line string) {
		if strings.TrimSpace(line) == "" {
			o.end()
			return
		}
		o.line(n, line)
	})
	o.end()
	return o.sections
}

// markdownSections reads Markdown for its headings and paragraphs only (CommonMark 0.31, 4.2, 4.3, 4.5): ATX and setext
// headings, and fenced code, in which a "#" is no heading and a blank line ends nothing. Front matter is left out.
func markdownSections(src string) []section {
	var o outline
	fence, front := "", frontMatter(src)
	eachLine(src, func(n int, line string) {
		text := strings.TrimSpace(line)
		switch {
		case n <= front:
		case fence != "":
			if isFenceEnd(text, fence) {
				fence = ""
				o.end()
				return
			}
			o.line(n, line)
		case text == "":
			o.end()
		case fenceStart(text) != "":
			fence = fenceStart(text)
		case indented(line):
			o.line(n, line)
		case atxLevel(text) > 0:
			level := atxLevel(text)
			o.heading(n, level, trimClosing(text[level:]))
		case len(o.lines) > 0 && (isRun(text, '=') || isRun(text, '-')):
			title := strings.Join(o.lines, " ")
			o.lines = nil
			level := 1
			if text[0] == '-' {
				level = 2
			}
			o.heading(o.first, level, title)
		case len(text) >= 3 && (isRun(text, '-') || isRun(text, '*') || isRun(text, '_')):
			o.end() // a thematic break
		default:
			o.line(n, line)
		}
	})
	o.end()
	return o.sections
}

// frontMatter is the number of lines of the YAML between "---" and "---" or "..." at the top of a file, 0 without one. A
// file may also begin with a thematic break, hence the look at the second line and for the end.
func frontMatter(src string) int {
	end := 0
	eachLine(src, func(n int, line string) {
		text := strings.TrimSpace(line)
		switch {
		case n == 1 && text != "---", n == 2 && text == "":
			end = -1
		case n > 1 && end == 0 && (text == "---" || text == "..."):
			end = n
		}
	})
	return max(end, 0)
}

// indented says whether a line is indented too far to be a heading or a break: it is code, or continues a paragraph.
func indented(line string) bool {
	return strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t")
}

// atxLevel is the number of "#" that begin a heading, 0 if text is none.
func atxLevel(text string) int {
	n := len(text) - len(strings.TrimLeft(text, "#"))
	if n > 6 || n < len(text) && text[n] != ' ' && text[n] != '\t' {
		return 0
	}
	return n
}

// trimClosing removes the optional "#"s at the end of a heading, which a space must separate from the title.
func trimClosing(title string) string {
	title = strings.TrimSpace(title)
	open := strings.TrimRight(title, "#")
	if open == "" || strings.HasSuffix(open, " ") || strings.HasSuffix(open, "\t") {
		return strings.TrimSpace(open)
	}
	return title
}

// fenceStart is the run of three or more "`" or "~" that begins fenced code, "" if text does not.
func fenceStart(text string) string {
	for _, c := range []string{"`", "~"} {
		run := text[:len(text)-len(strings.TrimLeft(text, c))]
		if len(run) >= 3 && (c == "~" || !strings.Contains(text[len(run):], "`")) {
			return run
		}
	}
	return ""
}

func isFenceEnd(text, fence string) bool {
	return len(text) >= len(fence) && isRun(text, fence[0])
}

// isRun says whether text is c, once or more, and nothing else.
func isRun(text string, c byte) bool {
	return text != "" && strings.Trim(text, string(rune(c))) == ""
}

// eachLine calls f for each line, counted from 1, without its line end or a byte order mark at the start.
func eachLine(src string, f func(n int, line string)) {
	n := 0
	for line := range strings.SplitSeq(strings.TrimPrefix(src, "\uFEFF"), "\n") {
		n++
		f(n, strings.TrimSuffix(line, "\r"))
	}
}
