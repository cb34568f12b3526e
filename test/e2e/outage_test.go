//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slack is what an answer may be late on a busy machine.
const slack = time.Second

// While NATS is away the HTTP faces say so in time; when it is back, everything goes on, without a restart.
func TestNATSGoesAway(t *testing.T) {
	d := deploy(t)
	observe := func(space string) string { return d.gateway.http + "/v1/spaces/" + space + "/observations" }
	recall := func(space string) string { return d.recall.http + "/v1/spaces/" + space + "/recall" }
	var spaces []string // one of each worker
	for shard := 0; shard < shards; shard += 2 {
		spaces = append(spaces, spaceOf(t, shard))
	}
	for _, space := range spaces {
		do(t, 200, http.MethodPost, observe(space), `{"id":"before","text":"before the outage","acknowledgement":"searchable"}`, nil)
	}

	d.nats.stop()
	for _, p := range d.daemons() {
		eventually(t, 10*time.Second, func() error {
			if a, err := request(t, http.MethodGet, p.metrics+"/readyz", ""); err != nil || a.status != http.StatusServiceUnavailable {
				return fmt.Errorf("%s: readyz is %d, %v", p.name, a.status, err)
			}
			return nil
		})
		do(t, 200, http.MethodGet, p.metrics+"/healthz", "", nil)
	}
	unavailable := func(method, url, body string) {
		t.Helper()
		var refused refusal
		began := time.Now()
		do(t, http.StatusServiceUnavailable, method, url, body, &refused)
		if took := time.Since(began); refused.Error.Code != "unavailable" || took > deadline+slack {
			t.Errorf("%s %s: %+v after %v, with a deadline of %v", method, url, refused, took, deadline)
		}
	}
	const during = `{"id":"during","text":"during the outage","idempotency_key":"the same observation"}`
	for _, space := range append([]string{"new-space"}, spaces...) {
		unavailable(http.MethodPost, observe(space), during)
		unavailable(http.MethodPost, recall(space), `{"text":"before the outage"}`)
	}

	d.nats.run()
	for _, p := range d.daemons() {
		eventually(t, 30*time.Second, func() error {
			if a, err := request(t, http.MethodGet, p.metrics+"/readyz", ""); err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%s: readyz is %d, %v: %s", p.name, a.status, err, a.body)
			}
			return nil
		})
	}
	for i, space := range append([]string{"new-space"}, spaces...) {
		want := []string{"after", "before", "during"}
		if i == 0 {
			want = []string{"after", "during"}
		}
		do(t, 200, http.MethodPost, observe(space), during, nil)
		do(t, 200, http.MethodPost, observe(space), `{"id":"after","text":"after the outage","acknowledgement":"searchable"}`, nil)
		var got found
		do(t, 200, http.MethodPost, recall(space), `{"text":"the outage"}`, &got)
		if ids := slices.Sorted(slices.Values(got.ids())); !slices.Equal(ids, want) {
			t.Errorf("after the outage %s has %v, want %v", space, ids, want)
		}
	}
	for _, p := range d.daemons() {
		if p.ended() || len(p.lines("ready")) != 1 {
			t.Errorf("%s did not live through the outage", p.name)
		}
	}
	// Metrics of an outage end with it.
	for shard := range shards {
		label := fmt.Sprintf(`{shard="%d"}`, shard)
		eventually(t, 10*time.Second, func() error {
			return scrape(t, d.holder(shard)).missing(map[string]func(float64) bool{
				"engram_streaming_staleness_seconds" + label: zero, "engram_streaming_consumer_lag" + label: zero,
			})
		})
	}
}

// A daemon that is started before its NATS server waits for it, and can be interrupted while it does.
func TestNATSComesLate(t *testing.T) {
	nats := startNATS(t)
	nats.stop()
	gateway := newDaemon(t, nats, "ingest-gateway", "ingest-gateway", "--http", "127.0.0.1:0")
	worker := newDaemon(t, nats, "space-worker", "space-worker", "--dir", filepath.Join(t.TempDir(), "worker"))
	recall := newDaemon(t, nats, "recall-api", "recall-api", "--http", "127.0.0.1:0")
	for _, p := range []*daemon{gateway, worker, recall} {
		p.start()
		p.prints(func() bool { return strings.Contains(string(p.output()), "NATS") })
	}
	recall.signal(syscall.SIGINT)
	if code := recall.wait(); code != 130 {
		t.Errorf("waiting for NATS, recall-api ended with exit code %d after SIGINT", code)
	}
	nats.run()
	gateway.ready()
	worker.ready()
	do(t, 200, http.MethodPost, gateway.http+"/v1/spaces/demo/observations", `{"text":"hello","acknowledgement":"searchable"}`, nil)
}

// Ctrl-C ends each daemon with 130, while it is busy too, and nothing that was accepted is lost.
func TestInterrupt(t *testing.T) {
	d := deploy(t)
	observe := d.gateway.http + "/v1/spaces/demo/observations"
	type outcome struct {
		accepted []string
		err      error
	}
	outcomes := make(chan outcome, 4)
	began := make(chan struct{}, cap(outcomes))
	for producer := range cap(outcomes) {
		go func() {
			var o outcome
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d", producer, n)
				a, err := request(t, http.MethodPost, observe, `{"id":"`+id+`","text":"`+id+`"}`)
				if err != nil || a.status != http.StatusOK {
					if err == nil && a.status != http.StatusServiceUnavailable {
						o.err = fmt.Errorf("status %d: %s", a.status, a.body)
					}
					outcomes <- o
					return
				}
				o.accepted = append(o.accepted, id)
				if n == 20 {
					began <- struct{}{}
				}
			}
		}()
	}
	for range cap(began) {
		select {
		case <-began:
		case <-time.After(startTimeout):
			t.Fatal("the producers do not get on")
		}
	}
	for _, p := range []*daemon{d.gateway, d.workers[0], d.workers[1], d.recall} {
		p.signal(syscall.SIGINT)
		if code := p.wait(); code != 130 {
			t.Errorf("%s ended with exit code %d after SIGINT", p.name, code)
		}
	}
	var all []string
	for range cap(outcomes) {
		o := <-outcomes
		if o.err != nil {
			t.Error(o.err)
		}
		all = append(all, o.accepted...)
	}
	for _, p := range d.daemons() {
		p.run()
	}
	for _, id := range all {
		do(t, 200, http.MethodGet, d.recall.http+"/v1/spaces/demo/observations/"+id, "", nil)
	}
	t.Logf("%d observations were accepted before SIGINT", len(all))
}

// What --print-config prints is a configuration file, and gives the same configuration.
func TestConfiguration(t *testing.T) {
	for program, args := range map[string][]string{
		"ingest-gateway": {"--batch.max-size", "123", "--space.metric", "l2", "--http", "127.0.0.1:1234"},
		"space-worker":   {"--shards", "3,5", "--profile", "low-latency", "--dir", "some \"dir\"", "--idle-sleep", "3ms"},
		"recall-api":     {"--log.level", "debug", "--metrics", ""},
	} {
		run := func(env []string, args ...string) (stdout, stderr string, code int) {
			cmd := exec.Command(filepath.Join(programs, program), args...)
			var out, errs strings.Builder
			cmd.Env, cmd.Stdout, cmd.Stderr = append(cleanEnv(), env...), &out, &errs
			if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
				t.Fatal(err)
			}
			return out.String(), errs.String(), cmd.ProcessState.ExitCode()
		}
		first, stderr, code := run([]string{"ENGRAM_NATS_URL=nats://example.org:4222"}, append(args, "--print-config")...)
		if code != 0 || stderr != "" || !strings.Contains(first, "nats://example.org:4222") {
			t.Fatalf("%s --print-config: exit code %d, %s\n%s", program, code, stderr, first)
		}
		file := filepath.Join(t.TempDir(), program+".yaml")
		if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		second, stderr, code := run(nil, "--config", file, "--print-config")
		if code != 0 || stderr != "" || values(second) != values(first) {
			t.Errorf("%s: exit code %d, %s; the file gives\n%s\nand the flags gave\n%s", program, code, stderr, values(second), values(first))
		}
		if changed, _, _ := run([]string{"ENGRAM_LOG_LEVEL=error"}, "--config", file, "--print-config"); values(changed) == values(first) {
			t.Errorf("%s: the environment does not overrule the file", program)
		}

		if err := os.WriteFile(file, []byte(first+"\ncolour: red\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for source, try := range map[string]func() (string, string, int){
			"colour":        func() (string, string, int) { return run(nil, "--config", file) },
			"ENGRAM_COLOUR": func() (string, string, int) { return run([]string{"ENGRAM_COLOUR=red"}) },
			"--colour":      func() (string, string, int) { return run(nil, "--colour", "red") },
		} {
			_, stderr, code := try()
			if code != 2 || !strings.HasPrefix(stderr, program+": ") || !strings.Contains(stderr, source) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s with the unknown key %s: exit code %d, %q", program, source, code, stderr)
			}
		}
	}
}

// values takes the comments, which tell where each value came from, out of a printed configuration.
func values(config string) string {
	var out strings.Builder
	for line := range strings.Lines(config) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimRight(line, " \n"); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}
