package demo

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/engram-memory/engram/pkg/node"
)

// report writes what people read. Its first error stays in err, and nothing is written after it.
type report struct {
	style
	w         io.Writer
	width     int
	toolchain bool
	err       error
}

// plainWidth is the columns of what is no terminal, and the most that text is laid out for.
const plainWidth = 100

func newReport(cfg Config) *report {
	r := &report{w: cfg.Stdout, width: plainWidth}
	if cfg.JSON {
		r.w = cfg.Stderr
	}
	if width, terminal := terminalWidth(r.w); terminal {
		r.width = max(min(width, plainWidth), 40)
		r.colour = !noColour()
	}
	return r
}

func (r *report) printf(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.w, format, args...)
	}
}

func (r *report) field(name, value, note string) {
	if note != "" {
		note = "  " + r.dim(note)
	}
	r.printf("  %s %s%s\n", r.dim(pad(name, 16)), value, note)
}

func (r *report) opening(src *source, n *node.Node, dir string) {
	r.toolchain = src.toolchain
	r.printf("%s  %s\n\n", r.cyan("engram demo"), r.dim("an all-in-one node: NATS JetStream, gateway, worker and recall API"))
	r.field("node", n.NATSURL(), "")
	r.field("data", dir, "")
	r.field("reading", src.name, "")
	r.printf("\n")
}

// loaded comes when everything is searchable.
func (r *report) loaded(res *Result, l *loader, src *source) {
	r.printf("  %s %s observations in %s, searchable after %s s\n", r.green("✓"), r.bold(thousands(int64(res.Observations))),
		plural(res.Spaces, "space"), decimals(res.Seconds))
	if n := l.refusals.Load(); n > 0 {
		r.printf("    %s\n", r.dim(plural(int(n), "request")+" met backpressure and went again"))
	}
	if n := l.wordless.Load(); n > 0 {
		r.printf("    %s\n", r.dim(plural(int(n), "document")+" without a word or number left out"))
	}
	if src.skipped != nil {
		r.printf("    %s\n", r.dim(printable(src.skipped.Error())))
	}
	if !src.toolchain {
		r.printf("    %s\n", r.dim("the questions are phrases taken from the documents"))
	}
}

// Lines of an answer's text.
const textLines = 2

func (r *report) answer(q Question) {
	r.printf("\n%s %s  %s\n", r.cyan("?"), r.bold(printable(q.Question)),
		r.dim(fmt.Sprintf("%s, %s ms", plural(q.asked, "space"), decimals(q.LatencyMS))))
	if len(q.Hits) == 0 {
		r.printf("  nothing found\n")
	}
	for _, h := range q.Hits {
		r.printf("  %s  %s  %s\n", r.green(fmt.Sprintf("%.2f", h.Score)), r.bold(printable(h.ID)), r.dim(printable(h.Source)))
		text := printable(h.Text)
		if r.toolchain {
			// The id says already what the comment stands on, and in which folder.
			if _, comment, ok := strings.Cut(text, ": "); ok {
				text = strings.TrimSuffix(comment, " ("+path.Dir(h.ID)+")")
			}
		}
		for _, line := range wrap(text, r.width-8, textLines) {
			r.printf("        %s\n", line)
		}
	}
}

func (r *report) summary(res *Result) {
	r.printf("\n")
	r.field("observations", r.bold(thousands(int64(res.Observations))), "accepted: each is in the log, and synced, before it is acknowledged")
	r.field("searchable", r.bold(thousands(int64(res.Searchable))), "counted by the index")
	r.field("seconds", r.bold(decimals(res.Seconds)), "first request to last row searchable, reading and embedding included")
	r.field("observations/s", r.bold(thousands(int64(res.ObservationsPerSecond))), "")
	r.field("staleness p99", r.measured(res.StalenessP99MS, res.Heartbeats), "furthest shard behind, of "+plural(res.Heartbeats, "heartbeat"))
	r.field("recall p99", r.measured(res.RecallP99MS, res.Recalls), "of "+plural(res.Recalls, "recall")+" while it loaded")
	r.printf("\n")
}

// measured writes milliseconds that came of samples. A load of a few documents may be over before the first one.
func (r *report) measured(ms float64, samples int) string {
	if samples == 0 {
		return "not measured, it was too short"
	}
	return r.bold(decimals(ms) + " ms")
}

// keeping says what to do with a node that stays.
func (r *report) keeping(n *node.Node, dir string, spaces []string) {
	space := spaces[0]
	r.printf("\n%s\n\n", r.bold("The node stays up until Ctrl-C."))
	r.field("NATS", n.NATSURL(), "")
	r.field("HTTP", "http://"+n.HTTPAddr(), "")
	r.field("metrics", "http://"+n.MetricsAddr()+"/metrics", "")
	r.field("data", dir, "")
	r.printf("\n  nats --server %s micro ls\n", n.NATSURL())
	r.printf("  nats --server %s req engram.recall.%s '{\"text\": \"what to look for\", \"k\": 3}' -H Content-Type:application/json\n", n.NATSURL(), space)
	r.printf("  curl -s http://%s/v1/spaces/%s/recall -H 'Content-Type: application/json' -d '{\"text\": \"what to look for\", \"k\": 3}'\n", n.HTTPAddr(), space)
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(int64(n)) + " " + noun
}
