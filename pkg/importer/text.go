package importer

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// textSource makes an observation of each line that is not blank, as it stands. A line that is too long or no text is
// refused; a file that begins as UTF-16 does is not read at all, since half of its lines could pass for text.
type textSource struct {
	lineFile
	prefix string
}

func (s *textSource) Records(emit func(Record) error) error {
	return s.lines(func(n int64, line []byte, long bool) error {
		if n == 1 && (bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff"))) {
			return fmt.Errorf("%s: it begins as a file of UTF-16 does; convert it, for example with iconv -f UTF-16 -t UTF-8", s.path)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		rec := Record{Number: n, Consumed: n}
		switch {
		case long || len(line) > event.MaxText:
			rec.Refused = wire.Errorf(wire.CodeTooLarge, "text", "the line is longer than the %d bytes that a text can have; split it", event.MaxText)
		case len(bytes.TrimSpace(line)) == 0:
			return nil // no words to embed
		case !utf8.Valid(line):
			rec.Refused = wire.Errorf(wire.CodeMalformed, "text", "the line is not UTF-8; convert the file, for example with iconv -t UTF-8")
		case bytes.IndexByte(line, 0) >= 0:
			rec.Refused = wire.Errorf(wire.CodeMalformed, "text", "the line has a NUL, which no text has")
		default:
			rec.Observation = &api.Observation{Id: s.prefix + strconv.FormatInt(n, 10), Text: string(line)}
		}
		return emit(rec)
	})
}
