package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is a setting that a stream has and its definition does not ask for. It is for an operator to judge: Engram
// does not change it.
type Difference struct {
	// Stream is the name of the stream; a bucket's is KV_<bucket>.
	Stream string
	// Field is the name in the JSON of the definition, such as "max_bytes" or "metadata.engram.kind". It is "stream" when
	// the whole stream was gone and has been made again, empty.
	Field string
	// Want and Have are values as the definition would write them; durations are Go's, such as "4m0s".
	Want, Have string
}

// String returns the difference as one line for a log.
func (d Difference) String() string {
	return fmt.Sprintf("stream %s: %s is %s, the definition has %s", d.Stream, d.Field, d.Have, d.Want)
}

// compare returns in what have differs from want, by field name. Left out are the description, which is for people, the
// metadata of others (the server adds some of its own), and the number of replicas unless withReplicas is set.
func compare(want, have jetstream.StreamConfig, withReplicas bool) ([]Difference, error) {
	w, err := fields(want)
	if err != nil {
		return nil, err
	}
	h, err := fields(have)
	if err != nil {
		return nil, err
	}
	if !withReplicas {
		delete(w, "num_replicas")
		delete(h, "num_replicas")
	}
	var out []Difference
	names := maps.Clone(w)
	maps.Copy(names, h)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a, b := text(name, w[name]), text(name, h[name]); a != b {
			out = append(out, Difference{Stream: want.Name, Field: name, Want: a, Have: b})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Metadata)) {
		if a, b := want.Metadata[key], have.Metadata[key]; a != b {
			out = append(out, Difference{Stream: want.Name, Field: "metadata." + key, Want: fmt.Sprintf("%q", a), Have: fmt.Sprintf("%q", b)})
		}
	}
	return out, nil
}

// fields returns the configuration as the members of its JSON, the names that an operator knows, so that a setting which
// a later release of the client library adds is compared as well.
func fields(cfg jetstream.StreamConfig) (map[string]json.RawMessage, error) {
	cfg = normalise(cfg)
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false) // Subjects are shown to people, and end in ">".
	if err := e.Encode(cfg); err != nil {
		return nil, fmt.Errorf("encoding the definition of stream %s: %w", cfg.Name, err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(encoded.Bytes(), &out); err != nil {
		return nil, fmt.Errorf("decoding the definition of stream %s: %w", cfg.Name, err)
	}
	maps.DeleteFunc(out, func(_ string, v json.RawMessage) bool { return isZero(v) })
	return out, nil
}

// normalise spells defaults as the server does (checkStreamCfg in its stream.go), and takes out what is not compared.
func normalise(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	for _, limit := range []*int64{&cfg.MaxMsgs, &cfg.MaxBytes, &cfg.MaxMsgsPerSubject} {
		if *limit <= 0 {
			*limit = -1
		}
	}
	if cfg.MaxMsgSize <= 0 {
		cfg.MaxMsgSize = -1
	}
	if cfg.MaxConsumers <= 0 {
		cfg.MaxConsumers = -1
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.Duplicates == 0 {
		cfg.Duplicates = 2 * time.Minute
		if cfg.MaxAge != 0 && cfg.MaxAge < cfg.Duplicates {
			cfg.Duplicates = cfg.MaxAge
		}
	}
	cfg.Subjects = slices.Clone(cfg.Subjects)
	slices.Sort(cfg.Subjects)
	cfg.Description, cfg.Metadata = "", nil
	return cfg
}

// isZero tells a member that is written from one that is left out and means the same.
func isZero(v json.RawMessage) bool {
	switch string(v) {
	case "0", `""`, "false", "null", "[]", "{}":
		return true
	}
	return false
}

// isDuration names the fields that count nanoseconds.
func isDuration(field string) bool {
	return field == "max_age" || field == "duplicate_window" || field == "subject_delete_marker_ttl"
}

// text returns a member as a person reads it.
func text(field string, v json.RawMessage) string {
	if isDuration(field) {
		var d time.Duration
		if v != nil && json.Unmarshal(v, &d) != nil {
			return string(v)
		}
		return d.String()
	}
	if v == nil {
		return "not set"
	}
	return string(v)
}
