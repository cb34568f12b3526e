package auth

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/wire"
)

// serve returns a handler behind an Authenticator that answers with the name of who asks.
func serve(t *testing.T, cfg Config, log zerolog.Logger) (http.Handler, *Authenticator) {
	t.Helper()
	a, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(FromContext(r.Context()).Name))
	})), a
}

func ask(h http.Handler, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/spaces/notes/recall", strings.NewReader("{}"))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func file(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "principals")
	write(t, path, lines...)
	return path
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokens(t *testing.T) {
	token, other := NewToken(), NewToken()
	line, err := Line("ingest", Hash(token), map[Role][]string{Observe: {"team-*", "notes"}}, true, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	h, _ := serve(t, Config{File: file(t, "# comment", "", line, "old token="+Hash(other)+" recall=* expires=2020-01-01T00:00:00Z"), Rate: RateConfig{Failures: 1000}}, zerolog.New(&log))
	for _, tc := range []struct {
		name    string
		headers []string
		want    string // the name, or a part of the error
	}{
		{"held", []string{"Authorization", "Bearer " + token}, "ingest"},
		{"another case", []string{"Authorization", "bearer  " + token}, "ingest"},
		{"none", nil, "carries no credentials"},
		{"unknown", []string{"Authorization", "Bearer " + NewToken()}, "not known"},
		{"its beginning", []string{"Authorization", "Bearer " + token[:20]}, "not known"},
		{"the hash", []string{"Authorization", "Bearer " + Hash(token)}, "not known"},
		{"expired", []string{"Authorization", "Bearer " + other}, "expired"},
		{"basic", []string{"Authorization", "Basic " + token}, "not Bearer"},
		{"empty", []string{"Authorization", "Bearer "}, "not Bearer"},
		{"twice", []string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, "more than once"},
		{"not ASCII", []string{"Authorization", "Bearer tök"}, "can be no token"},
		{"long", []string{"Authorization", "Bearer " + strings.Repeat("x", maxBearer+1)}, "can be no token"},
		{"a JWT, and none hold", []string{"Authorization", "Bearer a.b.c"}, "not known"},
	} {
		w := ask(h, tc.headers...)
		body := w.Body.String()
		if tc.want == "ingest" {
			if w.Code != http.StatusOK || body != tc.want {
				t.Errorf("%s: %d %s", tc.name, w.Code, body)
			}
			continue
		}
		if e := wire.DecodeError(wire.JSON, []byte(body)); w.Code != http.StatusUnauthorized || e.Code != wire.CodeUnauthenticated ||
			!strings.Contains(e.Message, tc.want) || w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %d %s", tc.name, w.Code, body)
		}
		for i := 1; i < len(tc.headers); i += 2 {
			if _, secret, _ := strings.Cut(tc.headers[i], " "); len(secret) > 3 && strings.Contains(body+log.String(), secret) {
				t.Errorf("%s: what was presented is in the answer or the log", tc.name)
			}
		}
	}
	if !strings.Contains(log.String(), "refused a login") {
		t.Error("no failure is in the log")
	}
}

func TestPermissions(t *testing.T) {
	tab, err := parseTable("p token=" + Hash("x") + " observe=team-*,notes recall=* forget=team-a")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := tab.byToken("x")
	p := e.principal
	for _, tc := range []struct {
		err *wire.Error
		ok  bool
	}{
		{p.May(Observe, "team-a"), true}, {p.May(Observe, "team-"), true}, {p.May(Observe, "notes"), true}, {p.May(Observe, "notes2"), false},
		{p.May(Observe, "team"), false}, {p.May(Recall, "anything"), true}, {p.May(Forget, "team-a"), true}, {p.May(Forget, "team-b"), false},
		{p.May(Admin, "team-a"), false}, {p.May(roles, "team-a"), false}, {p.May(-1, "team-a"), false},
		{p.MayAll(Observe, "notes", "", "team-x"), true}, {p.MayAll(Observe, "notes", "other"), false}, {p.MayAll(Admin), true},
		{p.MayPrefix(Observe, "team-"), true}, {p.MayPrefix(Observe, "team-a"), true}, {p.MayPrefix(Observe, "team"), false},
		{p.MayPrefix(Observe, "notes"), false}, {p.MayPrefix(Observe, ""), false}, {p.MayPrefix(Recall, ""), true},
		{everyone.May(Admin, "x"), true}, {everyone.MayPrefix(Forget, ""), true},
	} {
		if (tc.err == nil) != tc.ok || !tc.ok && (tc.err.Code != wire.CodeForbidden || tc.err.Status() != http.StatusForbidden) {
			t.Errorf("%v, want allowed %v", tc.err, tc.ok)
		}
	}
	if !p.Sees("zzz") || !everyone.Sees("x") || (&Principal{}).Sees("x") {
		t.Error("wrong spaces are seen")
	}
	// Nobody may nothing: a handler that was put beside the middleware is closed.
	for _, err := range []*wire.Error{
		Require(t.Context(), Recall, "notes"), Require(t.Context(), Recall), RequirePrefix(t.Context(), Recall, "notes"), (*Principal)(nil).May(Observe, "x"),
	} {
		if err == nil || err.Code != wire.CodeUnauthenticated {
			t.Errorf("without a principal: %v", err)
		}
	}
	ctx := NewContext(t.Context(), p)
	if Require(ctx, Observe, "notes", "team-1") != nil || Require(ctx, Observe, "x") == nil || RequirePrefix(ctx, Observe, "team-") != nil || Charge(ctx, 5) != nil {
		t.Error("a context with a principal does not say what the principal says")
	}
}

func TestFilesThatAreWrong(t *testing.T) {
	hash := Hash("x")
	secret := "engram_dont-show-me"
	for _, tc := range []struct{ text, want string }{
		{"p", "token= or cert="}, {"p token=" + hash + " cert=CN:x", "token= or cert="}, {"p observe=x", "token= or cert="},
		{"p token=" + secret, "64 hexadecimal"}, {"p token=sha256:" + hash[7:69] + "zz", "64 hexadecimal"}, {"p token=" + hash + "00", "64 hexadecimal"},
		{"p token=sha256:00", "64 hexadecimal"}, {secret + "=x token=" + hash, "no name"}, {"p token=" + hash + " observe=", "no spaces"},
		{"p token=" + hash + " observe=A", "not the name"}, {"p token=" + hash + " observe=a*b", "not the name"}, {"p token=" + hash + " observe=a,,b", "not the name"},
		{"p token=" + hash + " write=a", "none of token"}, {"p token=" + hash + " metrics=1", "no value"}, {"p token=" + hash + " observe=a observe=b", "twice"},
		{"p token=" + hash + " expires=tomorrow", "not a time"}, {"p cert=x", "neither CN"}, {"p cert=CN:", "neither CN"}, {"p cert=\"CN:x", "not closed"},
		{"p token=" + hash + "\n\nq token=" + hash, "line 3: the token"}, {"p cert=CN:x\nq cert=CN:x", "line 2: the certificate"},
	} {
		_, err := parseTable(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
	}
	if _, err := New(Config{File: filepath.Join(t.TempDir(), "none")}, zerolog.Nop()); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, err := Line("a b", hash, nil, false, time.Time{}); err == nil {
		t.Error("a name of two words became a line")
	}
}

func TestReload(t *testing.T) {
	one, two := NewToken(), NewToken()
	path := file(t, "one token="+Hash(one)+" recall=*")
	h, a := serve(t, Config{File: path, Reload: time.Hour}, zerolog.Nop())
	held := func(token string) bool { return ask(h, "Authorization", "Bearer "+token).Code == http.StatusOK }
	if !held(one) || held(two) {
		t.Fatal("the first file is not what holds")
	}
	write(t, path, "two token="+Hash(two)+" recall=*")
	if err := a.reload(); err != nil || held(one) || !held(two) {
		t.Fatalf("the second file is not what holds: %v", err)
	}
	write(t, path, "two token=oops")
	if err := a.reload(); err == nil || !held(two) {
		t.Fatalf("a file that is wrong ended what held: %v", err)
	}
}

// A file is read again without anybody asking for it.
func TestReloadByItself(t *testing.T) {
	one, two := NewToken(), NewToken()
	path := file(t, "one token="+Hash(one)+" recall=*")
	h, _ := serve(t, Config{File: path, Reload: 10 * time.Millisecond, Rate: RateConfig{}}, zerolog.Nop())
	write(t, path, "two token="+Hash(two)+" recall=*")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ask(h, "Authorization", "Bearer "+two).Code != http.StatusOK; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the file was not read again")
		}
	}
}

func TestRates(t *testing.T) {
	token, other := NewToken(), NewToken()
	h, a := serve(t, Config{
		File: file(t, "p token="+Hash(token)+" recall=*", "q token="+Hash(other)+" recall=*"),
		Rate: RateConfig{Requests: 10, Burst: 2, Failures: 10},
	}, zerolog.Nop())
	now := time.Unix(1e9, 0)
	a.now = func() time.Time { return now }
	held := []string{"Authorization", "Bearer " + token}
	for i, want := range []int{200, 200, 429, 429} {
		w := ask(h, held...)
		if w.Code != want {
			t.Fatalf("request %d: %d, want %d", i, w.Code, want)
		}
		if want == 429 && (w.Header().Get("Retry-After") != "1" || wire.DecodeError(wire.JSON, w.Body.Bytes()).RetryAfter != 100*time.Millisecond) {
			t.Errorf("Retry-After %q, %s", w.Header().Get("Retry-After"), w.Body)
		}
	}
	if w := ask(h, "Authorization", "Bearer "+other); w.Code != 200 {
		t.Errorf("one principal's rate is another's: %d", w.Code)
	}
	now = now.Add(100 * time.Millisecond)
	if w := ask(h, held...); w.Code != 200 {
		t.Errorf("after the time that was said: %d", w.Code)
	}
	// Logins that fail are limited for their address, and those that hold are not.
	for i := range failureBurst + 1 {
		want := 401
		if i == failureBurst {
			want = 429
		}
		if w := ask(h, "Authorization", "Bearer wrong"); w.Code != want {
			t.Fatalf("failure %d: %d, want %d", i, w.Code, want)
		}
	}
	now = now.Add(time.Second)
	if w := ask(h, held...); w.Code != 200 {
		t.Errorf("failures of others: %d", w.Code)
	}
}

func TestLimitersAreBounded(t *testing.T) {
	l := newLimits(1, 1, 3)
	now := time.Unix(1e9, 0)
	for range 3 {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			l.take(now, name, 1)
		}
	}
	if len(l.byName) != 3 || l.recent.Len() != 3 {
		t.Errorf("%d limiters", len(l.byName))
	}
	if l.take(now, "e", 1) == 0 || l.take(now, "a", 1) != 0 {
		t.Error("not the limiter that was not asked for longest was forgotten")
	}
}

func TestAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[2001:db8::1]:5": "2001:db8::/64", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[fe80::1%eth0]:5": "fe80::/64", "@": "@",
	} {
		if got := address(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9:80": true, "[::1]:80": true, "localhost:80": true, "LOCALHOST": true, "::1": true,
		"": false, ":80": false, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "example.org:80": false, "localhost.example.org:80": false,
	} {
		if Loopback(addr) != want {
			t.Errorf("Loopback(%q) is %v", addr, !want)
		}
	}
}

// What a page in a browser could send to a node without authentication is refused.
func TestOpen(t *testing.T) {
	inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(FromContext(r.Context()).Name)) })
	for _, tc := range []struct {
		name     string
		loopback bool
		host     string
		headers  []string
		want     int
	}{
		{"curl", true, "127.0.0.1:8080", nil, 200}, {"localhost", true, "localhost:8080", nil, 200},
		{"a name that leads here", true, "evil.example:8080", nil, 403}, {"the same, and not on loopback", false, "engram.example:8080", nil, 200},
		{"another site", true, "127.0.0.1:8080", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, an old browser", true, "127.0.0.1:8080", []string{"Origin", "https://evil.example"}, 403},
		{"the same site", true, "127.0.0.1:8080", []string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = tc.host
		for i := 0; i < len(tc.headers); i += 2 {
			r.Header.Set(tc.headers[i], tc.headers[i+1])
		}
		w := httptest.NewRecorder()
		Open(tc.loopback, inside).ServeHTTP(w, r)
		if w.Code != tc.want || tc.want == 200 && w.Body.String() != "everyone" {
			t.Errorf("%s: %d %s", tc.name, w.Code, w.Body)
		}
	}
}

func TestOnlyMetrics(t *testing.T) {
	with, without := NewToken(), NewToken()
	_, a := serve(t, Config{File: file(t, "prom token="+Hash(with)+" metrics", "p token="+Hash(without)+" admin=*")}, zerolog.Nop())
	h := a.OnlyMetrics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, tc := range []struct {
		path, token string
		want        int
	}{{"/metrics", with, 200}, {"/metrics", without, 403}, {"/metrics", "", 401}, {"/healthz", "", 200}, {"/readyz", "", 200}, {"/healthz/../metrics", "", 401}, {"/", "", 401}} {
		r := httptest.NewRequest(http.MethodGet, tc.path, nil)
		if tc.token != "" {
			r.Header.Set("Authorization", "Bearer "+tc.token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: %d, want %d", tc.path, w.Code, tc.want)
		}
	}
}
