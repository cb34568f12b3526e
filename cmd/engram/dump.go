package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

const dumpLong = `Print a file of a worker's store as annotated bytes: a line for each field with where it is, its bytes, and what they mean.
What kind of file it is, the file itself says: a segment of a row log, the index of one, a manifest, the columns of a
space, or their checksums (docs/format has the tables). Long vectors and bodies are abbreviated.

The file is only read, and may be one that a worker is writing. One that is damaged is printed as far as it makes sense;
then the exit code is 1. Columns are compared with the checksums beside them, FILE.sums; where these are missing, since a
worker has the columns open or did not close them, nothing can be said of most bytes, and the exit code is 1, too.`

const dumpExample = `  engram dump engram-data/worker/shard-0/MANIFEST
  for f in engram-data/worker/shard-0/*; do engram dump "$f" | head; done`

func dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dump FILE", Short: "Print a file of a worker's store as annotated bytes", Long: dumpLong, Example: dumpExample, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return dump(cmd.OutOrStdout(), args[0]) },
	}
}

// maxManifest is far above the size of any manifest.
const maxManifest = 256 << 20

func dump(w io.Writer, name string) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening the file to print: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at the file to print: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file; name one of those in a shard's directory", name)
	}
	head := make([]byte, magicBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	head = head[:n] // a shorter file has no more to be recognised by
	switch {
	case n == 0:
		return fmt.Errorf("%s is no file of a worker's store: it is empty", name)
	case rows.IsDumpable(head):
		err = rows.Dump(w, f, info.Size())
	case columns.IsDumpable(head):
		err = errors.Join(columns.Dump(w, f, info.Size()), compareColumns(f, info.Size(), head))
	case manifest.IsDumpable(head) && info.Size() <= maxManifest:
		var b []byte
		if b, err = io.ReadAll(io.NewSectionReader(f, 0, info.Size())); err == nil {
			err = manifest.Dump(w, b)
		}
	default:
		return fmt.Errorf("%s is no file of a worker's store: it begins with %q", name, head)
	}
	if err != nil {
		return fmt.Errorf("printing %s: %w", name, err)
	}
	return nil
}

// magicBytes is how many bytes each kind of file begins with that say what it is.
const magicBytes = 8

// compareColumns compares columns with the checksums beside them. These are written by a clean close and go with the next
// change; without them damage cannot be told from what was written, which must not look like a file that was found good.
func compareColumns(f *os.File, size int64, head []byte) error {
	if !columns.IsColumns(head) {
		return nil
	}
	sums, err := os.ReadFile(columns.SumsPath(f.Name()))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no checksums to be compared with, so damage cannot be seen: %s is there only after a clean close of the worker",
			columns.SumsPath(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("reading the checksums: %w", err)
	}
	return columns.Compare(f, size, sums)
}
