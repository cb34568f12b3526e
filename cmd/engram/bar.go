package main

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"

	"github.com/engram-memory/engram/pkg/importer"
)

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct{ bar *progressbar.ProgressBar }

// watched tells whether somebody looks on: w is a terminal.
func watched(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// newBar counts what there is to do only when somebody looks on.
func newBar(w io.Writer, src importer.Source) (*bar, error) {
	if !watched(w) {
		return &bar{}, nil
	}
	total, err := src.Count()
	if err != nil {
		return nil, err
	}
	return &bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("importing"), progressbar.OptionSetItsString(src.Unit()+"s"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionFullWidth(), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
	)}, nil
}

// A bar that cannot be drawn is no reason to stop what it shows.

func (b *bar) add(n int64) {
	if b.bar != nil {
		_ = b.bar.Add64(n)
	}
}

// clear makes room for a line; the bar comes back with the next progress.
func (b *bar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

func (b *bar) finish() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
