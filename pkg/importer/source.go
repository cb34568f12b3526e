package importer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// Record is one record of a file.
type Record struct {
	// Number is its line, counted from 1, or its row, counted from 0.
	Number int64
	// Consumed is how many lines or rows of the file are read with it, for a progress bar.
	Consumed int64
	// Observation has an id. It is nil when Refused is set.
	Observation *api.Observation
	// Refused says why the record is no observation.
	Refused *wire.Error
	// Repeated is true when an earlier record of the file has the same id.
	Repeated bool
}

// Source reads the records of one file. It is used by one goroutine.
type Source interface {
	// Unit is what Record.Number counts: "line" or "row".
	Unit() string
	// Dimension is that of all embeddings of the file, 0 when the file does not fix it.
	Dimension() int
	// Count returns how many lines or rows there are, which may read the whole file.
	Count() (int64, error)
	// Records emits the records in order; an error of emit is returned as it is. Other errors name the file, and come
	// after what was before them has been emitted.
	Records(emit func(Record) error) error
	// Close closes the file.
	Close() error
}

// ErrName matches the error of Open for a file, or a prefix of ids, that cannot be because of its name.
var ErrName = errors.New("the name does not do")

// Open opens a file by its extension: .jsonl or .ndjson, .npy, or .txt. idPrefix begins the ids of records that have
// none of their own, and their number ends it; when it is empty it is the file's name without its folder, and a colon.
// The caller closes the source.
func Open(path, idPrefix string) (Source, error) {
	if idPrefix == "" {
		idPrefix = filepath.Base(path) + ":"
	}
	// The longest number that can follow.
	if err := wire.CheckID(idPrefix+strconv.FormatInt(1<<62, 10), "id"); err != nil {
		return nil, nameError(fmt.Sprintf("%s: ids that begin with %q cannot be: they are UTF-8 of at most %d bytes with the number; choose another prefix",
			path, idPrefix, event.MaxID))
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".npy":
		return openNPY(path, idPrefix)
	case ".jsonl", ".ndjson", ".txt":
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening a file to import: %w", err)
		}
		if ext == ".txt" {
			return &textSource{lineFile{f, path}, idPrefix}, nil
		}
		return &jsonSource{lineFile{f, path}, idPrefix}, nil
	}
	return nil, nameError(path + ": the kind of a file is told by its name, which ends in .jsonl, .npy or .txt")
}

// nameError is an ErrName in words of its own.
type nameError string

func (e nameError) Error() string        { return string(e) }
func (e nameError) Is(target error) bool { return target == ErrName }
