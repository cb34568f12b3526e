package corpus

import (
	"strings"
	"unicode/utf8"
)

// rstSections reads reStructuredText for its headings and paragraphs only (docutils' specification, "Sections"): a title
// is a line underlined, and perhaps overlined, by a run of one punctuation character at least as long as the title. The
// level of a style is the order in which the file first uses it. Directives and literal blocks are taken as text.
func rstSections(src string) []section {
	var o outline
	var styles []string
	overline := "" // the run that may be the line over a title
	eachLine(src, func(n int, line string) {
		text := strings.TrimSpace(line)
		adorned := isAdornment(line)
		switch {
		case text == "":
			o.end()
			overline = ""
		case adorned && len(o.lines) == 1 && covers(text, o.lines[0]):
			title, style := o.lines[0], text[:1]
			if overline == text {
				style += style
			}
			o.lines, overline = nil, ""
			o.heading(o.first, levelOf(&styles, style), title)
		case adorned && len(o.lines) == 0:
			overline = text // or a transition, which is followed by a blank line
		default:
			o.line(n, line)
		}
	})
	o.end()
	return o.sections
}

// isAdornment says whether a line is a run of two or more of one punctuation character, not indented.
func isAdornment(line string) bool {
	line = strings.TrimRight(line, " \t")
	return len(line) >= 2 && strings.IndexByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", line[0]) >= 0 && isRun(line, line[0])
}

// covers says whether an underline is long enough for a title. docutils warns of a shorter one, and takes it from four
// characters on.
func covers(underline, title string) bool {
	return len(underline) >= min(4, utf8.RuneCountInString(strings.TrimSpace(title)))
}

// levelOf is the level of a style of heading, counted from 1, which is added when it is new. There are at most twice as
// many styles as punctuation characters.
func levelOf(styles *[]string, style string) int {
	for i, s := range *styles {
		if s == style {
			return i + 1
		}
	}
	*styles = append(*styles, style)
	return len(*styles)
}
