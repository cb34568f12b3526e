package corpus

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	broken := errors.New("disk on fire")
	for _, c := range []struct {
		name string
		in   io.Reader
		want []string
		says string // "" when there is no error
	}{
		{"empty", strings.NewReader(""), nil, ""},
		{"plain", strings.NewReader("a\nb c\n"), []string{"1 a", "2 b c"}, ""},
		{"no end, CR LF, blank, BOM", strings.NewReader("\uFEFFa\r\n\r\n \t\n\nb"), []string{"1 a", "5 b"}, ""},
		{"space is kept", strings.NewReader("  a  \n"), []string{"1   a  "}, ""},
		{"a byte at a time", iotest.OneByteReader(strings.NewReader("a\r\nb\r\n")), []string{"1 a", "2 b"}, ""},
		{"as long as allowed", strings.NewReader("a\n" + long + "\r\n" + long), []string{"1 a", "2 " + long, "3 " + long}, ""},
		{"one byte over", strings.NewReader("a\n" + long + "y\nb\n"), []string{"1 a"}, "line 2 is longer than 64 KiB"},
		{"far over", strings.NewReader("a\n" + strings.Repeat(long, 3)), []string{"1 a"}, "line 2 is longer than 64 KiB"},
		{"not UTF-8", strings.NewReader("a\n\xff\nb\n"), []string{"1 a"}, "line 2 is not valid UTF-8"},
		{"read error in a line", io.MultiReader(strings.NewReader("a\nb\nhal"), iotest.ErrReader(broken)), []string{"1 a", "2 b"}, "reading line 3: disk on fire"},
		{"read error", io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)), []string{"1 a"}, "reading line 2: disk on fire"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			err := Lines(c.in, func(n int, text string) error {
				got = append(got, fmt.Sprint(n, " ", text))
				return nil
			})
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLinesStopsWhenToldTo(t *testing.T) {
	enough, n := errors.New("enough"), 0
	err := Lines(strings.NewReader("a\nb\nc\n"), func(int, string) error {
		n++
		return enough
	})
	if err != enough || n != 1 {
		t.Errorf("%d lines, %v", n, err)
	}
}
