package demo

import (
	"io"

	"github.com/rs/zerolog"
)

// Config says what a demonstration reads, where it keeps it and where it prints.
type Config struct {
	// Source is the folder of text to read; empty for the documentation comments of the installed Go toolchain.
	Source string
	// Data is the directory of the node, which stays afterwards. It must be empty or not there yet. Empty for a temporary
	// one, which is removed at the end.
	Data string
	// Keep leaves the node up after the summary until the context ends.
	Keep bool
	// JSON prints the Result as the only line of Stdout; the report goes to Stderr then.
	JSON bool
	// Stdout takes the report, Stderr the progress. Both are needed. On a terminal they get colours and a progress bar.
	Stdout, Stderr io.Writer
	// Log takes the warnings of the node.
	Log zerolog.Logger
}

// Result is what a demonstration found, as --json prints it.
type Result struct {
	// Source is what was read.
	Source string `json:"source"`
	// Spaces is how many spaces were made.
	Spaces int `json:"spaces"`
	// Observations were accepted: they are in the log, on the disk.
	Observations int `json:"observations"`
	// Searchable is how many of them the index holds.
	Searchable int `json:"searchable"`
	// Seconds run from the first request to the last observation searchable, reading and embedding included.
	Seconds               float64 `json:"seconds"`
	ObservationsPerSecond float64 `json:"observations_per_second"`
	// StalenessP99MS is over the heartbeats in that time; of each it takes the shard that is furthest behind. It is 0 when
	// there was none, as in a load of a few documents.
	StalenessP99MS float64 `json:"staleness_p99_ms"`
	Heartbeats     int     `json:"heartbeats"`
	// RecallP99MS is over the recalls in that time, as a client sees them; 0 when there was none.
	RecallP99MS float64    `json:"recall_p99_ms"`
	Recalls     int        `json:"recalls"`
	Questions   []Question `json:"questions"`
}

// Question is one of the five, with its best answers.
type Question struct {
	Question string `json:"question"`
	// LatencyMS is the time for all the spaces that it was asked in, which are asked at once.
	LatencyMS float64 `json:"latency_ms"`
	// Hits are at most 3, best first.
	Hits []Hit `json:"hits"`

	asked int // spaces
}

// Hit is one answer.
type Hit struct {
	ID    string  `json:"id"`
	Space string  `json:"space"`
	Score float64 `json:"score"` // cosine similarity
	// Source is "file:line", the file relative to the folder that was read.
	Source string `json:"source"`
	Text   string `json:"text"`
}
