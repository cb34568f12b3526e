// Package corpus reads real text for the demonstration: the documentation comments of an installed Go toolchain
// ([GoDocs]), and any folder of text, Markdown or Go ([Dir]).
//
// Files are read and parsed by several goroutines, at most 8, and handed out sorted by name, a folder's files before its folders, so
// that two runs over the same files give the same documents in the same order. emit is called by the goroutine that called in,
// one document at a time; an error from it stops the reading and is returned as it is. Memory is bounded by the few
// files that are being parsed, each at most [MaxFile] bytes, not by the size of the tree. When a function returns, its
// goroutines have ended.
package corpus

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of what is read and handed out, in bytes.
const (
	MaxText = 8 << 10 // text of a document
	MaxID   = 256     // id of a document, the limit that an observation has
	MaxFile = 8 << 20 // file in a folder
)

// Document is one text to remember. Its strings are valid UTF-8, and hold no reference to the file they came from.
type Document struct {
	Space  string // a legal space name, see SpaceName
	ID     string // unique among the documents of one walk, the same in every walk over the same files
	Text   string // 1..MaxText bytes
	Source string // "file:line", the file relative to the folder that was read, with slashes

	// Metadata says what the text is about. GoDocs sets package, symbol, kind and exported ("true" or "false"); Dir
	// sets path and, for a section, heading, and for Go both sets.
	Metadata map[string]string
}

var (
	// ErrNothing is wrapped by the error of a walk that ended well but found no document.
	ErrNothing = errors.New("nothing to read was found")

	// ErrNoToolchain is wrapped by the error for a missing Go toolchain, or one without its source.
	ErrNoToolchain = errors.New("no Go toolchain with its source was found; name a folder of text, Markdown or Go with --source DIR")
)

// maxReasons bounds what a SkippedError keeps, so that a tree of a million unreadable files costs no memory.
const maxReasons = 16

// SkippedError says that files or folders that belong to the corpus could not be read: no permission, no text (a NUL
// byte or invalid UTF-8), too large, Go that does not parse. It is a warning: when a walk returns it (find it with
// errors.As), every document that could be read has been emitted.
type SkippedError struct {
	Files   int     // how many files and folders
	Reasons []error // why, for the first 16 of them; each names its file
}

// Error is one line, naming the first few.
func (e *SkippedError) Error() string {
	const shown = 3
	var says []string
	for _, r := range e.Reasons[:min(shown, len(e.Reasons))] {
		says = append(says, r.Error())
	}
	if more := e.Files - len(says); more > 0 {
		says = append(says, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%d of the files could not be read as text: %s", e.Files, strings.Join(says, "; "))
}

// Unwrap returns the reasons, for errors.Is.
func (e *SkippedError) Unwrap() []error { return e.Reasons }

func (e *SkippedError) add(err error) {
	e.Files++
	if len(e.Reasons) < maxReasons {
		e.Reasons = append(e.Reasons, err)
	}
}
