package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// maxEmbeddingText bounds what is read of an embedding: the JSON of 4,096 components is well below it.
const maxEmbeddingText = 1 << 20

// parseEmbedding reads an embedding from a flag: a JSON array, base64 of packed little-endian f32, or @ and the name of
// a file with one of the two.
func parseEmbedding(cmd *cobra.Command, text string) (*api.Embedding, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading an embedding: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxEmbeddingText+1))
		if err != nil {
			return nil, fmt.Errorf("reading an embedding: %w", err)
		}
		if len(b) > maxEmbeddingText {
			return nil, fmt.Errorf("reading an embedding: %s is larger than %d bytes; that is no embedding", path, maxEmbeddingText)
		}
		text = string(b)
	}
	value := []byte(strings.TrimSpace(text))
	if len(value) == 0 || value[0] != '[' {
		var err error
		if value, err = json.Marshal(string(value)); err != nil {
			return nil, fmt.Errorf("reading an embedding: %w", err)
		}
	}
	// Before it is put into a request, of which it could otherwise be more than the embedding, and the error about another text.
	if err := json.Unmarshal(value, new(json.RawMessage)); err != nil {
		return nil, refusedBy(cmd, wire.Errorf(wire.CodeInvalidEmbedding, "embedding", "%q is not a JSON array of numbers: %v", shortened(value), err))
	}
	// The one reader of embeddings is wire's; it reads them in their place.
	req, err := wire.DecodeRecall(wire.JSON, append(append([]byte(`{"embedding":`), value...), '}'))
	if err == nil && len(req.GetEmbedding().GetData()) == 0 {
		err = wire.Errorf(wire.CodeInvalidEmbedding, "embedding", "embedding has no components")
	}
	if err != nil {
		return nil, refusedBy(cmd, err)
	}
	return req.GetEmbedding(), nil
}

// shortened is the beginning of what somebody gave, for a message about it.
func shortened(b []byte) string {
	const most = 40
	if len(b) <= most {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:most]), "") + "…"
}

// parseMetadata reads key=value pairs. A value that is a JSON number or boolean is one, a JSON string is its text, and
// everything else is text as it stands.
func parseMetadata(pairs []string) (map[string]*api.Value, error) {
	raw := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		key, text, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--meta %q is not key=value", pair)
		}
		if _, twice := raw[key]; twice {
			return nil, fmt.Errorf("--meta gives %q twice", key)
		}
		raw[key] = text
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			switch v.(type) {
			case float64, bool, string:
				raw[key] = v
			}
		}
	}
	m, err := wire.MetadataFrom(raw)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// parseExpiry reads a duration from now, or a time as in RFC 3339.
func parseExpiry(text string, now time.Time) (int64, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 {
			return 0, fmt.Errorf("--expires is %v, which is not in the future", d)
		}
		return now.Add(d).UnixNano(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1971 || t.Year() > 2261 {
		return 0, fmt.Errorf("--expires is %q; it can be a duration such as 36h, or a time such as 2030-01-02T15:04:05Z", text)
	}
	if !t.After(now) {
		return 0, fmt.Errorf("--expires is %s, which is not in the future", text)
	}
	return t.UnixNano(), nil
}

// readText reads the text of an observation or a query from r, without the line end that a shell puts after it. It
// returns early when ctx ends: the read, which nothing can interrupt, is then left to end with the process.
func readText(ctx context.Context, r io.Reader) (string, error) {
	type outcome struct {
		text []byte
		err  error
	}
	read := make(chan outcome, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(r, event.MaxText+2))
		read <- outcome{b, err}
	}()
	select {
	case <-ctx.Done():
		return "", &interruptedError{}
	case o := <-read:
		if o.err != nil {
			return "", fmt.Errorf("reading the text from stdin: %w", o.err)
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(o.text), "\n"), "\r")
		if len(text) > event.MaxText {
			return "", wire.Errorf(wire.CodeTooLarge, "text", "stdin has more than the %d bytes that a text can have", event.MaxText)
		}
		if text == "" {
			return "", errors.New("stdin has no text; give it as an argument, or pipe it in")
		}
		return text, nil
	}
}

// spaceAndText checks the arguments of a command that takes a space and perhaps a text.
func spaceAndText(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("name a space")
	case len(args) > 2:
		return fmt.Errorf("there are %d words behind the space; put the text in quotes", len(args)-1)
	}
	return nil
}
