// Package streams holds the definition of every JetStream stream, consumer and bucket of Engram, as JSON that the nats
// command loads as it is, and as the configuration that the daemons apply from the same bytes. README.md says what each
// one is for.
package streams

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/event"
)

// Names of the files that are not made for one shard, and of the templates.
const (
	fileLogTemplate = "ENGRAM_LOG_0.json"
	fileQuarantine  = "ENGRAM_QUARANTINE.json"
	fileSpaces      = "KV_ENGRAM_SPACES.json"
	fileSessions    = "KV_ENGRAM_SESSIONS.json"
	fileMeta        = "KV_ENGRAM_META.json"
	fileMembers     = "KV_ENGRAM_MEMBERS.json"
	fileSnapshots   = "OBJ_ENGRAM_SNAPSHOTS.json"
	fileWorker      = "consumers/ENGRAM_LOG_worker.json"
)

//go:embed *.json consumers/*.json
var files embed.FS

// Files returns the definitions as they are in the repository: streams and buckets at the top, consumers in consumers/.
func Files() fs.FS { return files }

// Log returns the definition of the log of one shard, 0 ≤ shard < [event.MaxShards]. Every shard's is derived from
// ENGRAM_LOG_0.json, so that any number of shards can be made; the files of the other seven are what it derives for them.
func Log(shard int) (jetstream.StreamConfig, error) {
	if shard < 0 || shard >= event.MaxShards {
		return jetstream.StreamConfig{}, fmt.Errorf("shard %d does not exist: shards are numbered from 0 to %d", shard, event.MaxShards-1)
	}
	text, err := logText(shard)
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return decodeStream(fileLogTemplate, text)
}

// logText is ENGRAM_LOG_0.json with the number of another shard in the four places that have one.
func logText(shard int) ([]byte, error) {
	text, err := files.ReadFile(fileLogTemplate)
	if err != nil {
		return nil, fmt.Errorf("reading the embedded definition %s: %w", fileLogTemplate, err)
	}
	n := strconv.Itoa(shard)
	return []byte(strings.NewReplacer(
		`"ENGRAM_LOG_0"`, `"ENGRAM_LOG_`+n+`"`,
		`"engram.log.0.>"`, `"engram.log.`+n+`.>"`,
		`the log of shard 0,`, `the log of shard `+n+`,`,
		`"engram.shard": "0"`, `"engram.shard": "`+n+`"`,
	).Replace(string(text))), nil
}

// Quarantine returns the definition of the stream of events that could not be applied.
func Quarantine() (jetstream.StreamConfig, error) { return stream(fileQuarantine) }

// Spaces returns the definition of the bucket ENGRAM_SPACES, as the stream beneath it.
func Spaces() (jetstream.StreamConfig, error) { return stream(fileSpaces) }

// Sessions returns the definition of the bucket ENGRAM_SESSIONS, as the stream beneath it.
func Sessions() (jetstream.StreamConfig, error) { return stream(fileSessions) }

// Meta returns the definition of the bucket ENGRAM_META, as the stream beneath it.
func Meta() (jetstream.StreamConfig, error) { return stream(fileMeta) }

// Members returns the definition of the bucket ENGRAM_MEMBERS, as the stream beneath it.
func Members() (jetstream.StreamConfig, error) { return stream(fileMembers) }

// Snapshots returns the definition of the object store ENGRAM_SNAPSHOTS, as the stream beneath it.
func Snapshots() (jetstream.StreamConfig, error) { return stream(fileSnapshots) }

// Worker returns the definition of the durable pull consumer that one worker has on each log it reads; its name is
// `worker_<worker>`. The worker id is 1 to 64 of a-z, A-Z, 0-9, '_' and '-': it is a token of subjects as well.
func Worker(worker string) (jetstream.ConsumerConfig, error) {
	if err := checkWorker(worker); err != nil {
		return jetstream.ConsumerConfig{}, err
	}
	text, err := files.ReadFile(fileWorker)
	if err != nil {
		return jetstream.ConsumerConfig{}, fmt.Errorf("reading the embedded definition %s: %w", fileWorker, err)
	}
	var cfg jetstream.ConsumerConfig
	if err := decode(fileWorker, text, &cfg); err != nil {
		return jetstream.ConsumerConfig{}, err
	}
	cfg.Durable = "worker_" + worker
	return cfg, nil
}

const maxWorker = 64

func checkWorker(worker string) error {
	if worker == "" || len(worker) > maxWorker {
		return fmt.Errorf("illegal worker id %q: it has %d bytes, want 1 to %d", worker, len(worker), maxWorker)
	}
	for i := range len(worker) {
		c := worker[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			continue
		}
		return fmt.Errorf("illegal worker id %q: byte %d is %q; want only a-z, A-Z, 0-9, '_' and '-'", worker, i, c)
	}
	return nil
}

func stream(name string) (jetstream.StreamConfig, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return jetstream.StreamConfig{}, fmt.Errorf("reading the embedded definition %s: %w", name, err)
	}
	return decodeStream(name, text)
}

func decodeStream(name string, text []byte) (cfg jetstream.StreamConfig, err error) {
	err = decode(name, text, &cfg)
	return cfg, err
}

// decode refuses unknown fields, as the server does: a misspelt field that were ignored here would be a setting that is
// written down and not in force.
func decode(name string, text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decoding the definition %s: %w", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("decoding the definition %s: something follows the object", name)
	}
	return nil
}
