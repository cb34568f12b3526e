package demo

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// state is how far the load is.
type state struct {
	read, accepted int64
	whole          bool    // read is all that there is
	rate           float64 // accepted a second since the beginning
	staleness      time.Duration
}

// What is shown, how often.
const (
	barInterval  = 100 * time.Millisecond
	lineInterval = time.Second
	barWidth     = 32
)

// progress shows how far a load is: a bar on a terminal, a line every second elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
}

func newProgress(w io.Writer) progress {
	_, terminal := terminalWidth(w)
	return progress{w: w, terminal: terminal}
}

// run shows the state until stop is closed. Nothing depends on it, so what cannot be written is not missed.
func (p progress) run(stop <-chan struct{}, read func() state) {
	interval, show := lineInterval, p.line
	if p.terminal {
		b := &bar{w: p.w}
		defer b.clear()
		interval, show = barInterval, b.show
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			show(read())
		}
	}
}

func (p progress) line(s state) {
	total := ""
	if s.whole {
		total = " of " + thousands(s.read)
	}
	_, _ = fmt.Fprintf(p.w, "loading: %s%s observations, %s\n", thousands(s.accepted), total, s.detail())
}

// detail is what changes while it goes on.
func (s state) detail() string {
	if s.whole && s.accepted >= s.read {
		return fmt.Sprintf("making the rest searchable, staleness %s ms", decimals(milliseconds(s.staleness)))
	}
	return fmt.Sprintf("%s/s, staleness %s ms", thousands(int64(s.rate)), decimals(milliseconds(s.staleness)))
}

// bar is a spinner as long as the total is not known, then a progress bar.
type bar struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	whole bool
}

func (b *bar) show(s state) {
	text := thousands(s.accepted) + " · " + s.detail()
	if s.whole {
		text = thousands(s.accepted) + " / " + thousands(s.read) + " · " + s.detail()
	}
	if b.bar == nil || b.whole != s.whole {
		b.clear()
		b.whole = s.whole
		total := int64(-1)
		if s.whole {
			total = max(s.read, 1)
		}
		b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.w), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetDescription(text),
			progressbar.OptionSetWidth(barWidth), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			// Turned by show: the library's own goroutine for it never ends.
			progressbar.OptionSpinnerType(14), progressbar.OptionSetSpinnerChangeInterval(0), progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: " ", BarEnd: " "}))
	}
	b.bar.Describe(text)
	if s.whole {
		_ = b.bar.Set64(min(s.accepted, s.read-1)) // a full bar would end its line
	} else {
		_ = b.bar.Add(0)
	}
}

func (b *bar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
