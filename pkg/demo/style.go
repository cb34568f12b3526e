package demo

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminalWidth returns the columns of a terminal; false for what is none, or one that cannot move its cursor.
func terminalWidth(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil && width > 0
}

// noColour follows https://no-color.org.
func noColour() bool { return os.Getenv("NO_COLOR") != "" }

// style paints text, or leaves it as it is.
type style struct{ colour bool }

func (s style) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string  { return s.paint("1", text) }
func (s style) dim(text string) string   { return s.paint("2", text) }
func (s style) green(text string) string { return s.paint("32", text) }
func (s style) cyan(text string) string  { return s.paint("1;36", text) }

// thousands writes a whole number with commas.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// decimals writes a number to three digits or so: 0.42, 4.2, 42, 4,200.
func decimals(v float64) string {
	switch {
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return thousands(int64(v + 0.5))
}

// printable makes one line of a text that anybody may have written: whatever could move the cursor is a space.
func printable(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// wrap breaks a line between words into at most lines of width columns; what does not fit is an ellipsis.
func wrap(text string, width, lines int) []string {
	var out []string
	line := ""
	words := strings.Fields(text)
	for i, w := range words {
		w = cut(w, width)
		fits := utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) <= width
		switch {
		case line == "":
			line = w
		case fits:
			line += " " + w
		default:
			if len(out) == lines-1 {
				return append(out, cut(line+" "+strings.Join(words[i:], " "), width))
			}
			out, line = append(out, line), w
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// cut shortens a text to width columns, the last of them an ellipsis.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return strings.TrimRight(string([]rune(text)[:max(width-1, 0)]), " ,.;:") + "…"
}

// pad fills a text up to width columns.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
}
