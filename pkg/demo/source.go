package demo

import (
	"context"
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/corpus"
)

// source is the text to read. Its fields are set by one goroutine, and read after it has ended.
type source struct {
	name string // for people
	read func(ctx context.Context, emit func(corpus.Document) error) error

	toolchain bool
	phrases   phrases              // of a folder, to ask about
	skipped   *corpus.SkippedError // what could not be read, nil for nothing
}

// openSource finds the folder, or the toolchain for the empty name, before anything is started for it.
func openSource(ctx context.Context, folder string) (*source, error) {
	if folder != "" {
		if _, err := os.Stat(folder); err != nil {
			return nil, err
		}
		return &source{
			name: "text, Markdown and Go below " + filepath.Clean(folder),
			read: func(ctx context.Context, emit func(corpus.Document) error) error {
				return corpus.Dir(ctx, folder, emit)
			},
		}, nil
	}
	root, err := corpus.FindGoroot(ctx)
	if err != nil {
		return nil, err
	}
	return &source{
		name: "documentation comments of the Go toolchain in " + root, toolchain: true,
		read: func(ctx context.Context, emit func(corpus.Document) error) error {
			return corpus.GoDocs(ctx, root, emit)
		},
	}, nil
}

// batch is the observations of one request.
type batch struct {
	space        string
	observations []*api.Observation
	query        string // something to ask about them, may be empty
	bytes        int
}

// Bounds of a request. A text has 8 KiB at most and its metadata is of the same order, so that a full request stays
// below the 1 MiB of a NATS message.
const (
	batchSize  = 64
	batchBytes = 256 << 10
)

// batches reads everything and hands it out in requests. Documents come sorted by folder, and so by space.
func (s *source) batches(ctx context.Context, send func(batch) error) error {
	var b batch
	flush := func() error {
		full := b
		b = batch{}
		if len(full.observations) == 0 {
			return nil
		}
		return send(full)
	}
	err := s.read(ctx, func(d corpus.Document) error {
		if b.space != d.Space || len(b.observations) == batchSize || b.bytes >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
			b.space, b.query = d.Space, opening(d)
		}
		if !s.toolchain {
			s.phrases.consider(d)
		}
		b.observations = append(b.observations, s.observation(d))
		b.bytes += len(d.Text)
		return nil
	})
	if err != nil && !errors.As(err, &s.skipped) {
		return err
	}
	return flush()
}

// observation makes an observation of a document, which has no embedding: the gateway makes it.
func (s *source) observation(d corpus.Document) *api.Observation {
	o := &api.Observation{Id: d.ID, Text: d.Text, Metadata: map[string]*api.Value{}}
	if pkg := d.Metadata["package"]; s.toolchain && strings.Contains(pkg, "/") {
		// The text begins with the last element only, and "compress" in compress/gzip is a word that people ask with.
		// It stands at the end, where it counts least: at the start it would outweigh the comment.
		o.Text += " (" + path.Dir(pkg) + ")"
	}
	meta := maps.Clone(d.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	meta["source"] = d.Source
	for key, value := range meta {
		o.Metadata[key] = &api.Value{Kind: &api.Value_String_{String_: value}}
	}
	return o
}
