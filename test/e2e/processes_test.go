//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// deadline is how long a gateway of these tests lets a request wait.
const deadline = 2 * time.Second

// The daemons as an operator sees them, with the nats command and with curl. Each step builds on those before it.
func TestProcesses(t *testing.T) {
	d := deploy(t)
	demo := event.ShardOf("demo", shards)
	natsRequests(t, d)
	services(t, d)
	overHTTP(t, d)
	defines(t, d)
	refusals(t, d)
	lag(t, d, demo)
	poison(t, d, demo)
	metricNames(t, d, demo)
	probes(t, d)
	secondWorker(t, d)
}

// natsJSON sends a request with the nats command and reads the JSON of the answer.
func natsJSON(t *testing.T, d *deployment, subject, body string, out any) {
	t.Helper()
	text := d.cli.Run("req", "--raw", subject, body)
	if err := json.NewDecoder(strings.NewReader(text)).Decode(out); err != nil {
		t.Fatalf("nats req %s %s: %v in %q", subject, body, err, text)
	}
}

func natsRequests(t *testing.T, d *deployment) {
	texts := []string{"read a file line by line", "listen for HTTP requests", "sort a slice of numbers", "the colour of the evening sky"}
	var last accepted
	for i, text := range texts {
		natsJSON(t, d, "engram.observe.demo", fmt.Sprintf(`{"id":"t%d","text":%q,"metadata":{"n":%d}}`, i, text, i), &last)
		if last.ID != "t"+strconv.Itoa(i) || last.Position == "" {
			t.Fatalf("the acknowledgement is %+v", last)
		}
	}
	for i, text := range texts {
		var got found
		natsJSON(t, d, "engram.recall.demo", fmt.Sprintf(`{"text":%q,"k":2,"at_least":%q}`, text, last.Position), &got)
		if len(got.Hits) != 2 || got.Hits[0].ID != "t"+strconv.Itoa(i) || got.Hits[0].Text != text || got.Hits[0].Score < 0.9999 ||
			got.Hits[1].Score >= got.Hits[0].Score || got.Hits[0].Metadata["n"] != float64(i) || !got.Exact {
			t.Errorf("recall of %q: %+v", text, got)
		}
	}
	var got found
	natsJSON(t, d, "engram.recall.demo", `{"text":"how do I read lines from a file?","k":1}`, &got)
	if ids := got.ids(); !slices.Equal(ids, []string{"t0"}) {
		t.Errorf("a question about files found %v", ids)
	}
	// A space of its own: with vectors, in the other worker's shards, and nothing of demo in it.
	other := spaceOf(t, (event.ShardOf("demo", shards)+2)%shards)
	natsJSON(t, d, "engram.observe."+other, `{"id":"x","embedding":[1,0,0],"acknowledgement":"searchable"}`, &last)
	natsJSON(t, d, "engram.recall."+other, `{"embedding":[1,0.1,0]}`, &got)
	if ids := got.ids(); !last.Searchable || !slices.Equal(ids, []string{"x"}) {
		t.Errorf("%+v; recall in %s found %v", last, other, ids)
	}
	var refused refusal
	natsJSON(t, d, "engram.recall.nowhere", `{"text":"anything"}`, &refused)
	if refused.Error.Code != "unknown_space" {
		t.Errorf("recall in a space that is not there: %+v", refused)
	}
}

// spaceOf returns the name of a space in a shard.
func spaceOf(t *testing.T, shard int) string {
	t.Helper()
	for i := range 1000 {
		if name := "space-" + strconv.Itoa(i); event.ShardOf(name, shards) == shard {
			return name
		}
	}
	t.Fatalf("no name of a space is in shard %d", shard)
	return ""
}

func services(t *testing.T, d *deployment) {
	list := d.cli.Run("micro", "ls")
	for _, name := range []string{"engram-gateway", "engram-recall", "engram-shard-0", "engram-shard-1", "engram-shard-2", "engram-shard-3"} {
		if !strings.Contains(list, "│ "+name+" ") {
			t.Errorf("nats micro ls does not list %s:\n%s", name, list)
		}
	}
}

// defines makes a space before its first observation, reads its past, and compacts it.
func defines(t *testing.T, d *deployment) {
	type made struct {
		Space, Metric, Embedder, Engine, Vectors string
		Dimension                                int
		Created                                  bool
	}
	var got made
	const body = `{"dimension":2,"metric":"dot","vectors":"f16","engine":"exact"}`
	natsJSON(t, d, "engram.define.made", body, &got)
	want := made{"made", "dot", "none", "exact", "f16", 2, true}
	if got != want {
		t.Errorf("defined with the nats command: %+v", got)
	}
	path := d.gateway.http + "/v1/spaces/made"
	want.Created = false
	if do(t, 200, http.MethodPut, path, body, &got); got != want {
		t.Errorf("defined again: %+v", got)
	}
	var refused refusal
	if do(t, 409, http.MethodPut, path, `{"vectors":"f32"}`, &refused); refused.Error.Code != "conflict" || refused.Error.Field != "vectors" {
		t.Errorf("defined otherwise: %+v", refused)
	}
	do(t, 201, http.MethodPut, d.gateway.http+"/v1/spaces/made-too", `{}`, nil)
	if do(t, 200, http.MethodGet, d.recall.http+"/v1/spaces/made", "", &got); got != want {
		t.Errorf("recall-api says %+v", got)
	}
	var first, second accepted
	for i, at := range []*accepted{&first, &second} {
		do(t, 200, http.MethodPost, path+"/observations", fmt.Sprintf(`{"id":"a","text":"version %d","embedding":[%d,1],"acknowledgement":"searchable"}`, i, i), at)
	}
	var then found
	do(t, 200, http.MethodPost, d.recall.http+"/v1/spaces/made/recall", fmt.Sprintf(`{"embedding":[1,0],"recall":"exact","as_of":%q}`, first.Position), &then)
	if len(then.Hits) != 1 || then.Hits[0].Text != "version 0" || then.Hits[0].Score != 0 || !then.Exact {
		t.Errorf("as of the first version: %+v", then)
	}
	var compacted struct {
		Copies []struct {
			Worker string
			Rows   int `json:"rows_after"`
		}
	}
	do(t, 200, http.MethodPost, d.recall.http+"/v1/spaces/made/compact", "", &compacted)
	if len(compacted.Copies) != 1 || compacted.Copies[0].Worker == "" || compacted.Copies[0].Rows < 1 {
		t.Errorf("compacted: %+v", compacted)
	}
}

func overHTTP(t *testing.T, d *deployment) {
	observe := d.gateway.http + "/v1/spaces/web/observations"
	var one accepted
	do(t, 200, http.MethodPost, observe, `{"id":"a","text":"alpha beta","metadata":{"lang":"en","n":1,"ok":true}}`, &one)
	if one.ID != "a" || one.Position == "" {
		t.Errorf("one observation: %+v", one)
	}
	var several struct{ Results []accepted }
	do(t, 200, http.MethodPost, observe, `[{"id":"b","text":"beta gamma","priority":"high"},{"id":"c","text":"delta"}]`, &several)
	if len(several.Results) != 2 || several.Results[1].ID != "c" {
		t.Errorf("several observations: %+v", several)
	}
	do(t, 200, http.MethodPost, observe, `{"observations":[{"id":"d","text":"epsilon"}],"acknowledgement":"searchable","idempotency_key":"k"}`, &several)
	if len(several.Results) != 1 || !several.Results[0].Searchable {
		t.Errorf("an envelope: %+v", several)
	}
	do(t, 200, http.MethodPost, observe, `{"observations":[{"id":"d","text":"epsilon"}],"idempotency_key":"k"}`, &several)
	if !several.Results[0].Duplicate {
		t.Errorf("the same again: %+v", several)
	}

	spaces := d.recall.http + "/v1/spaces"
	var got found
	do(t, 200, http.MethodPost, spaces+"/web/recall", `{"text":"beta gamma","k":1}`, &got)
	if ids := got.ids(); !slices.Equal(ids, []string{"b"}) {
		t.Errorf("recall by text found %v", ids)
	}
	do(t, 200, http.MethodPost, spaces+"/web/recall", `{"id":"b","k":4}`, &got)
	if ids := got.ids(); !slices.Contains(ids, "a") {
		t.Errorf("recall by id found %v", ids)
	}
	type space struct {
		Space        string
		Observations int
	}
	var web space
	do(t, 200, http.MethodGet, spaces+"/web", "", &web)
	if web != (space{"web", 4}) {
		t.Errorf("the space is %+v", web)
	}
	var all struct{ Spaces []space }
	do(t, 200, http.MethodGet, spaces, "", &all)
	if !slices.Contains(all.Spaces, space{"web", 4}) || !slices.Contains(all.Spaces, space{"demo", 4}) {
		t.Errorf("the spaces are %+v", all)
	}
	do(t, 200, http.MethodGet, spaces+"/web/observations?limit=3", "", &got)
	if ids := (found{Observations: got.Observations}).ids(); !slices.Equal(ids, []string{"d", "c", "b"}) || !got.More {
		t.Errorf("the newest are %v, more %v", ids, got.More)
	}
	var a hit
	do(t, 200, http.MethodGet, spaces+"/web/observations/a", "", &a)
	if a.ID != "a" || a.Text != "alpha beta" || a.Metadata["lang"] != "en" || a.Metadata["ok"] != true {
		t.Errorf("the observation is %+v", a)
	}
	do(t, 204, http.MethodDelete, spaces+"/web/observations/a", "", nil)
	do(t, 404, http.MethodGet, spaces+"/web/observations/a", "", nil)
	do(t, 200, http.MethodPost, spaces+"/web/recall", `{"text":"alpha beta"}`, &got)
	if ids := (found{Hits: got.Hits}).ids(); len(ids) != 3 || slices.Contains(ids, "a") {
		t.Errorf("after the delete recall found %v", ids)
	}
}

// refusals checks that bad input gets its error on both transports, and that nothing of it is published.
func refusals(t *testing.T, d *deployment) {
	js := connect(t, d.nats.url).JS
	before := logged(t, js)
	for _, c := range []struct {
		verb, space, body string
		code              wire.Code
	}{
		{"observe", "demo", `{"embedding":[1,2,3]}`, wire.CodeWrongDimension},
		{"observe", "demo", `{"embedding":[1,"NaN"]}`, wire.CodeInvalidEmbedding},
		{"observe", "demo", `{"id":"z","embedding":[` + strings.TrimSuffix(strings.Repeat("0,", 512), ",") + `]}`, wire.CodeInvalidEmbedding},
		{"observe", "demo", `{"text":"x","colour":"red"}`, wire.CodeMalformed},
		{"observe", "demo", `{"text":`, wire.CodeMalformed},
		{"observe", "demo", `{}`, wire.CodeInvalidEmbedding},
		{"observe", "demo", `{"text":"x","id":"` + strings.Repeat("i", event.MaxID+1) + `"}`, wire.CodeInvalidID},
		{"observe", "demo", `{"text":"x","priority":"urgent"}`, wire.CodeInvalidArgument},
		{"observe", "Demo", `{"text":"x"}`, wire.CodeInvalidSpace},
		{"observe", "demo", `{"text":"` + strings.Repeat("x", event.MaxText+1) + `"}`, wire.CodeTooLarge},
		{"recall", "demo", `{"text":"x","k":0}`, wire.CodeInvalidArgument},
		{"recall", "demo", `{"text":"x","k":1001}`, wire.CodeInvalidArgument},
		{"recall", "demo", `{"text":"x","at_least":"yesterday"}`, wire.CodeInvalidPosition},
	} {
		var viaNATS, viaHTTP refusal
		natsJSON(t, d, "engram."+c.verb+"."+c.space, c.body, &viaNATS)
		url := d.gateway.http + "/v1/spaces/" + c.space + "/observations"
		if c.verb == "recall" {
			url = d.recall.http + "/v1/spaces/" + c.space + "/recall"
		}
		do(t, wire.Codes()[c.code], http.MethodPost, url, c.body, &viaHTTP)
		if viaNATS.Error.Code != string(c.code) || viaNATS != viaHTTP || viaNATS.Error.Message == "" {
			t.Errorf("%s %s %.60s: %+v over NATS, %+v over HTTP, want %s", c.verb, c.space, c.body, viaNATS, viaHTTP, c.code)
		}
	}
	if after := logged(t, js); after != before {
		t.Errorf("%d messages were published for requests that were refused", after-before)
	}
}

// lag stops a worker in its tracks, so that what is observed piles up, and lets it go on.
func lag(t *testing.T, d *deployment, shard int) {
	const n = 300
	stream, worker := bus.LogStream(shard), d.holder(shard)
	report := func() (waiting, floor int) {
		row := consumerReport(t, d.cli.Run("consumer", "report", "--raw", stream))
		return row["Ack Pending"] + row["Unprocessed"], row["Ack Floor"]
	}
	eventually(t, 10*time.Second, func() error {
		if waiting, _ := report(); waiting != 0 {
			return fmt.Errorf("at rest %d wait", waiting)
		}
		return nil
	})
	_, before := report()
	worker.signal(syscall.SIGSTOP)
	batch := make([]string, n)
	for i := range batch {
		batch[i] = fmt.Sprintf(`{"id":"lag%d","text":"number %d of those that wait"}`, i, i)
	}
	do(t, 200, http.MethodPost, d.gateway.http+"/v1/spaces/demo/observations", "["+strings.Join(batch, ",")+"]", nil)
	if waiting, floor := report(); waiting != n || floor != before {
		t.Errorf("with the worker stopped %d wait, floor %d; want %d and %d", waiting, floor, n, before)
	}
	worker.signal(syscall.SIGCONT)
	eventually(t, 10*time.Second, func() error {
		if waiting, floor := report(); waiting != 0 || floor != before+n {
			return fmt.Errorf("%d wait, floor %d, want %d", waiting, floor, before+n)
		}
		return nil
	})
	var got found
	do(t, 200, http.MethodPost, d.recall.http+"/v1/spaces/demo/recall", `{"id":"lag299","k":1000}`, &got)
	if len(got.Hits) < n {
		t.Errorf("recall found %d of %d", len(got.Hits), n)
	}
}

// consumerReport reads the numbers of the only row of the table that nats consumer report prints.
func consumerReport(t *testing.T, text string) map[string]int {
	t.Helper()
	var head []string
	row := map[string]int{}
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "│")
		if len(cells) < 5 {
			continue
		}
		if head == nil {
			head = cells
			continue
		}
		for i, cell := range cells {
			if n, err := strconv.Atoi(strings.TrimSpace(cell)); err == nil && i < len(head) {
				row[strings.TrimSpace(head[i])] = n
			}
		}
	}
	for _, column := range []string{"Ack Pending", "Unprocessed", "Ack Floor"} {
		if _, ok := row[column]; !ok {
			t.Fatalf("nats consumer report has no number in %s:\n%s", column, text)
		}
	}
	return row
}
