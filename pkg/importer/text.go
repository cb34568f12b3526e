package importer

import (
	"errors"
	"fmt"
	"strconv"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/corpus"
)

// textSource makes an observation of each line that is not blank. A line that is too long or not UTF-8 ends the reading:
// the whole file is in another encoding then, or of another kind.
type textSource struct {
	lineFile
	prefix string
}

func (s *textSource) Records(emit func(Record) error) error {
	var emitted error
	err := corpus.Lines(s.f, func(line int, text string) error {
		emitted = emit(Record{
			Number: int64(line), Consumed: int64(line),
			Observation: &api.Observation{Id: s.prefix + strconv.Itoa(line), Text: text},
		})
		return emitted
	})
	if err == nil || errors.Is(err, emitted) {
		return err
	}
	return fmt.Errorf("%s: %w", s.path, err)
}
