package node_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/tlsconf"
	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
	"github.com/engram-memory/engram/pkg/wire"
)

// Every path asks for the role in the space of its path, and in the one of its body.
func TestRolesOverHTTP(t *testing.T) {
	roles := map[string]string{"observer": "observe=team-*", "reader": "recall=team-*,notes", "forgetter": "forget=team-a", "admin": "admin=team-*", "all": "observe=* recall=* forget=* admin=*"}
	var lines []string
	for name, has := range roles {
		lines = append(lines, name+" token="+auth.Hash("token-of-"+name)+" "+has)
	}
	cfg := config(t.TempDir())
	cfg.HTTP = "127.0.0.1:0"
	cfg.Listen.Auth.File = filepath.Join(t.TempDir(), "principals")
	if err := os.WriteFile(cfg.Listen.Auth.File, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ := start(t, cfg)
	ask := func(name, method, path, contentType, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.HTTPAddr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if name != "" {
			req.Header.Set("Authorization", "Bearer token-of-"+name)
		}
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	for _, space := range []string{"team-a", "notes", "secret"} {
		if code, body := ask("all", http.MethodPost, "/v1/spaces/"+space+"/observations", "", `{"id":"a","text":"some text","acknowledgement":"searchable"}`); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
	}
	const ndjson = "application/x-ndjson"
	for _, tc := range []struct {
		role               string // of those above, who has it for team-a
		method, path, kind string
		body               string
		want               int
	}{
		{"observer", http.MethodPost, "/v1/spaces/SPACE/observations", "", `{"id":"b","text":"some text"}`, 200},
		{"observer", http.MethodPost, "/v1/spaces/SPACE/observations", ndjson, `{"id":"b","text":"some text"}`, 200},
		{"reader", http.MethodPost, "/v1/spaces/SPACE/recall", "", `{"text":"some text"}`, 200},
		{"reader", http.MethodGet, "/v1/spaces/SPACE/observations", "", "", 200},
		{"reader", http.MethodGet, "/v1/spaces/SPACE/observations/a", "", "", 200},
		{"forgetter", http.MethodDelete, "/v1/spaces/SPACE/observations/zzz", "", "", 204},
		{"admin", http.MethodPut, "/v1/spaces/SPACE", "", `{}`, 200},
		{"admin", http.MethodPost, "/v1/spaces/SPACE/compact", "", `{}`, 200},
		{"admin", http.MethodPost, "/v1/spaces/SPACE/prove", "", `{"ids":["zzz"],"look_only":true}`, 200},
		{"forgetter", http.MethodPost, "/v1/spaces/SPACE/forget", "", `{"filter":"id == 'zzz'"}`, 200},
	} {
		at := func(space string) string { return strings.ReplaceAll(tc.path, "SPACE", space) }
		for name := range roles {
			want := http.StatusForbidden
			if name == tc.role || name == "all" {
				want = tc.want
			}
			if code, body := ask(name, tc.method, at("team-a"), tc.kind, tc.body); code != want {
				t.Errorf("%s: %s %s: %d %s, want %d", name, tc.method, at("team-a"), code, body, want)
			}
		}
		// A space that there is, and one that there is not, look the same to who may see neither.
		for _, space := range []string{"secret", "nowhere"} {
			code, body := ask(tc.role, tc.method, at(space), tc.kind, tc.body)
			if e := wire.DecodeError(wire.JSON, []byte(body)); code != http.StatusForbidden || e.Code != wire.CodeForbidden || e.Field != "space" {
				t.Errorf("%s: %s %s: %d %s", tc.role, tc.method, at(space), code, body)
			}
		}
		code, body := ask("", tc.method, at("team-a"), tc.kind, tc.body)
		if e := wire.DecodeError(wire.JSON, []byte(body)); code != http.StatusUnauthorized || e.Code != wire.CodeUnauthenticated {
			t.Errorf("nobody: %s %s: %d %s", tc.method, at("team-a"), code, body)
		}
	}
	// The document says the same to everybody who is somebody.
	for _, path := range []string{"/openapi.json", "/openapi.yaml", "/docs"} {
		for name := range roles {
			if code, body := ask(name, http.MethodGet, path, "", ""); code != http.StatusOK {
				t.Errorf("%s: GET %s: %d %s", name, path, code, body)
			}
		}
		if code, body := ask("", http.MethodGet, path, "", ""); code != http.StatusUnauthorized {
			t.Errorf("nobody: GET %s: %d %s", path, code, body)
		}
	}
	// A body that names another space: one that is not allowed, and one that is and is not that of the path.
	for _, tc := range []struct{ name, method, path, kind, body, field string }{
		{"observer", http.MethodPost, "/v1/spaces/team-a/observations", "", `[{"text":"x"},{"space":"SPACE","text":"x"}]`, "observations[1].space"},
		{"observer", http.MethodPost, "/v1/spaces/team-a/observations", ndjson, `{"space":"SPACE","text":"x"}`, ""},
		{"reader", http.MethodPost, "/v1/spaces/team-a/recall", "", `{"space":"SPACE","text":"x"}`, "space"},
		{"admin", http.MethodPut, "/v1/spaces/team-a", "", `{"space":"SPACE"}`, "space"},
		{"admin", http.MethodPost, "/v1/spaces/team-a/compact", "", `{"space":"SPACE"}`, "space"},
		{"admin", http.MethodPost, "/v1/spaces/team-a/prove", "", `{"space":"SPACE","ids":["a"],"look_only":true}`, "space"},
	} {
		for space, want := range map[string]wire.Code{"secret": wire.CodeForbidden, "team-b": wire.CodeInvalidSpace} {
			code, body := ask(tc.name, tc.method, tc.path, tc.kind, strings.ReplaceAll(tc.body, "SPACE", space))
			if tc.kind == ndjson {
				if code != 200 || !strings.Contains(body, string(want)) {
					t.Errorf("%s: %s naming %s: %d %s", tc.name, tc.path, space, code, body)
				}
				continue
			}
			if e := wire.DecodeError(wire.JSON, []byte(body)); e.Code != want || e.Field != tc.field || code != e.Status() {
				t.Errorf("%s: %s naming %s: %d %s, want %s", tc.name, tc.path, space, code, body, want)
			}
		}
	}
	// Who proves erases what was forgotten, which takes the role to forget as well.
	for name, want := range map[string]int{"admin": http.StatusForbidden, "forgetter": http.StatusForbidden, "all": http.StatusConflict} {
		if code, body := ask(name, http.MethodPost, "/v1/spaces/team-a/prove", "", `{"ids":["a"]}`); code != want {
			t.Errorf("%s proves: %d %s, want %d", name, code, body, want)
		}
	}
	// Several spaces are recalled from by who may recall from each of them, and by a prefix by who may from all that could have it.
	for _, tc := range []struct {
		name, body string
		want       int
	}{
		{"reader", `{"text":"some text","spaces":["team-a","notes"]}`, 200}, {"reader", `{"text":"some text","spaces":["team-a","secret"]}`, 403},
		{"reader", `{"text":"some text","spaces":["team-a","nowhere"]}`, 403}, {"reader", `{"text":"some text","space":"secret"}`, 403},
		{"reader", `{"text":"some text","prefix":"team-"}`, 200}, {"reader", `{"text":"some text","prefix":"t"}`, 403},
		{"reader", `{"text":"some text","prefix":"nowhere"}`, 403}, {"all", `{"text":"some text","prefix":"t"}`, 200},
		{"observer", `{"text":"some text","spaces":["team-a"]}`, 403}, {"", `{"text":"some text","prefix":"t"}`, 401},
	} {
		if code, body := ask(tc.name, http.MethodPost, "/v1/recall", "", tc.body); code != tc.want {
			t.Errorf("%q: a recall of %s: %d %s, want %d", tc.name, tc.body, code, body, tc.want)
		}
	}
	// The list of spaces is of those in which one has a role.
	for name, want := range map[string]string{"observer": "team-a", "reader": "notes team-a", "forgetter": "team-a", "all": "notes secret team-a"} {
		_, body := ask(name, http.MethodGet, "/v1/spaces", "", "")
		var seen []string
		for _, space := range []string{"notes", "secret", "team-a"} {
			if strings.Contains(body, `"space":"`+space+`"`) {
				seen = append(seen, space)
			}
		}
		if strings.Join(seen, " ") != want {
			t.Errorf("%s sees %q, want %q", name, seen, want)
		}
	}
	if code, _ := ask("observer", http.MethodGet, "/v1/spaces/team-a", "", ""); code != 200 {
		t.Errorf("a space in which one has a role: %d", code)
	}
	for _, name := range []string{"observer", ""} {
		for _, path := range []string{"/v1/spaces/secret", "/v1/spaces"} {
			if code, body := ask(name, http.MethodGet, path, "", ""); (name == "" && code != 401) || (name != "" && path != "/v1/spaces" && code != 403) {
				t.Errorf("%q: %s: %d %s", name, path, code, body)
			}
		}
	}
	// Who is nobody does not learn which paths there are.
	if code, _ := ask("", http.MethodGet, "/nothing", "", ""); code != 401 {
		t.Errorf("a path that is not there: %d", code)
	}
}

// The embedded server takes users and their permissions from the file that a server of its own would, and speaks TLS.
func TestUsersOfTheEmbeddedServer(t *testing.T) {
	seeds := map[string]string{}
	for _, u := range []string{"GATEWAY", "WORKER", "RECALL", "ADMIN", "PRODUCER", "SERVICE"} {
		kp, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := kp.Seed()
		if err != nil {
			t.Fatal(err)
		}
		seeds[u] = filepath.Join(t.TempDir(), "seed")
		if err := os.WriteFile(seeds[u], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NATS_NKEY_"+u, public)
	}
	ca := tlstest.New(t)
	cert, key := ca.Issue("node", "node")
	cfg := config(t.TempDir())
	cfg.NATS, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	cfg.NATSAuth = "../../deployments/nats/accounts.conf"
	cfg.Listen.TLS = tlsconf.Server{Cert: cert, Key: key}
	n, inside := start(t, cfg)
	if !strings.HasPrefix(n.NATSURL(), "tls://") {
		t.Errorf("the address is %s", n.NATSURL())
	}
	connect := func(user string) *client.Client {
		t.Helper()
		c, err := bus.Connect(bus.Config{
			URL: n.NATSURL(), NKey: seeds[strings.ToUpper(user)], InboxPrefix: "_INBOX_" + user, TLS: bus.TLSConfig{CA: ca.File}, FailFast: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return client.New(c.NC)
	}
	producer, service := connect("producer"), connect("service")
	req := &api.ObserveRequest{Observations: []*api.Observation{{Id: "a", Text: "some text"}}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	if _, err := producer.Observe(t.Context(), "notes", req); err != nil {
		t.Fatal(err)
	}
	if got, err := service.Recall(t.Context(), "notes", &api.RecallRequest{Text: "text"}); err != nil || len(got.GetHits()) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := producer.Observe(ctx, "other", req); err == nil {
		t.Error("a producer wrote to a space that is not its own")
	}
	if got, err := inside.Spaces(t.Context(), ""); err != nil || len(got.GetSpaces()) != 1 {
		t.Errorf("there are spaces %v, %v", got, err)
	}
	if c, err := nats.Connect(n.NATSURL(), nats.RootCAs(ca.File)); err == nil {
		c.Close()
		t.Error("somebody connected without a login")
	}
	// HTTP has the same certificate.
	tr := &http.Transport{TLSClientConfig: ca.Client("", "")}
	defer tr.CloseIdleConnections()
	req2, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+n.HTTPAddr()+"/v1/spaces", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req2)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != 200 || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%d, %v", resp.StatusCode, err)
	}
}

func TestNodeIsNotOpenByDefault(t *testing.T) {
	for key, change := range map[string]func(*node.Config){
		"nats is": func(c *node.Config) { c.NATS = "0.0.0.0:0" }, "http is": func(c *node.Config) { c.HTTP = ":0" }, "metrics is": func(c *node.Config) { c.Metrics = "[::]:0" },
	} {
		cfg := config(t.TempDir())
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "--insecure") {
			t.Errorf("%s: %v", key, err)
		}
		cfg.Listen.Insecure = true
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s, insecure: %v", key, err)
		}
	}
}
