package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers lists the directories from the bottom to the top, with all that is
// below each of them. Code imports from its own layer and from those beneath.
func layers() [][]string {
	return [][]string{
		{"pkg/api", "pkg/config", "pkg/corpus", "pkg/dirlock", "pkg/event", "pkg/logging", "pkg/metrics", "pkg/placement", "pkg/queue", "pkg/tlsconf", "pkg/version", "streams"},
		{"pkg/embed", "pkg/hnsw", "pkg/npy", "pkg/vector", "pkg/vfs"},
		{"pkg/auth", "pkg/bus", "pkg/openapi", "pkg/registry", "pkg/vecstore", "pkg/wire"},
		{"pkg/filter", "pkg/membership", "pkg/snapshot"},
		{"pkg/client", "pkg/gateway", "pkg/importer", "pkg/recall", "pkg/rpc", "pkg/session", "pkg/worker"},
		{"pkg/daemon"},
		{"pkg/node"},
		{"pkg/bench", "pkg/demo", "pkg/simulate"},
		{"cmd", "test", "pkg/internal/lint"},
	}
}

// withoutNATS are the packages that do not know that NATS exists, themselves or
// through another package of ours.
func withoutNATS() []string {
	return []string{"pkg/event", "pkg/hnsw", "pkg/queue", "pkg/vecstore", "pkg/vector"}
}

// graph has the imports of each of our packages, by directory: those of ours as
// directories too, the others by their paths.
type graph map[string]map[string]bool

// importGraph leaves out the imports of test files, which may look both ways.
func importGraph(module string, sources []*source) graph {
	g := graph{}
	for _, s := range sources {
		if s.file == nil || s.isTestFile() {
			continue
		}
		dir := path.Dir(s.path)
		if g[dir] == nil {
			g[dir] = map[string]bool{}
		}
		for _, p := range s.imports() {
			g[dir][strings.TrimPrefix(p, module+"/")] = true
		}
	}
	return g
}

// within is true for dir itself and all below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func withinAny(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return within(p, dir) })
}

func layerOf(dir string) int {
	return slices.IndexFunc(layers(), func(dirs []string) bool { return withinAny(dir, dirs) })
}

// upwardImports finds imports from a higher layer, and packages without a layer.
func upwardImports(g graph) (violations []string) {
	for dir, imports := range g {
		own := layerOf(dir)
		if own < 0 {
			violations = append(violations, fmt.Sprintf("%s has no layer; give it one in layers()", dir))
			continue
		}
		for p := range imports {
			if _, ours := g[p]; ours && layerOf(p) > own {
				violations = append(violations, fmt.Sprintf("%s imports %s, which is above it", dir, p))
			}
		}
	}
	return violations
}

// forbiddenImports finds what the layers alone would allow.
func forbiddenImports(g graph) (violations []string) {
	for dir, imports := range g {
		for p := range imports {
			_, ours := g[p]
			if ours && within(dir, "pkg/event") && !within(p, "pkg/event") {
				violations = append(violations, fmt.Sprintf("%s imports %s; event imports nothing of ours", dir, p))
			}
			if within(p, "cmd") && program(p) != program(dir) {
				violations = append(violations, fmt.Sprintf("%s imports %s; nothing imports a command", dir, p))
			}
		}
		if !withinAny(dir, withoutNATS()) {
			continue
		}
		for p, via := range g.reach(dir) {
			if within(p, "pkg/bus") || withinAny(p, []string{"github.com/nats-io", "github.com/synadia-io"}) {
				violations = append(violations, fmt.Sprintf("%s imports %s (in %s); it must not know of NATS", dir, p, via))
			}
		}
	}
	return violations
}

// program is the directory of the command that p belongs to: "cmd/engram".
func program(p string) string {
	parts := strings.SplitN(p, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// reach is all that dir imports through packages of ours, each with a package
// that imports it.
func (g graph) reach(dir string) map[string]string {
	seen := map[string]string{}
	todo := []string{dir}
	for len(todo) > 0 {
		from := todo[0]
		todo = todo[1:]
		for p := range g[from] {
			if _, ok := seen[p]; !ok {
				seen[p] = from
				todo = append(todo, p)
			}
		}
	}
	return seen
}

func TestDependenciesPointDown(t *testing.T) {
	module, sources := repository(t)
	g := importGraph(module, sources)
	if len(g) < 5 || g["pkg/event"] == nil {
		t.Fatalf("only %d packages were found", len(g))
	}
	report(t, append(upwardImports(g), forbiddenImports(g)...))
}

// Each rule, broken once.
func TestImportRulesFindViolations(t *testing.T) {
	none := map[string]bool{}
	imports := func(paths ...string) map[string]bool {
		m := map[string]bool{}
		for _, p := range paths {
			m[p] = true
		}
		return m
	}
	const nats = "github.com/nats-io/nats.go/jetstream"
	cases := map[string]struct {
		g    graph
		want []string // what the violations mention; none when empty
	}{
		"downwards": {g: graph{
			"cmd/engram": imports("pkg/node", "cmd/engram/internal/ui"), "cmd/engram/internal/ui": none,
			"pkg/node": imports("pkg/worker", "pkg/gateway"), "pkg/gateway": imports("pkg/bus"), "pkg/worker": imports("pkg/vecstore", "pkg/bus"),
			"pkg/bus": imports(nats, "pkg/event"), "pkg/vecstore": imports("pkg/hnsw"), "pkg/hnsw": imports("pkg/vector"),
			"pkg/vector": imports("pkg/event"), "pkg/event": imports("errors"),
		}},
		"upwards":         {graph{"pkg/bus": imports("pkg/worker"), "pkg/worker": none}, []string{"pkg/bus imports pkg/worker"}},
		"no layer":        {graph{"pkg/other": none}, []string{"pkg/other has no layer"}},
		"event of ours":   {graph{"pkg/event": imports("pkg/api/v1"), "pkg/api/v1": none}, []string{"event imports nothing of ours"}},
		"from a command":  {graph{"cmd/a": imports("cmd/b"), "cmd/b": none}, []string{"nothing imports a command"}},
		"below a command": {graph{"test/e2e": imports("cmd/b/x"), "cmd/b/x": none}, []string{"nothing imports a command"}},
		"NATS directly":   {graph{"pkg/hnsw": imports(nats)}, []string{"pkg/hnsw imports " + nats}},
		"NATS by others":  {graph{"pkg/vecstore/rows": imports("pkg/metrics"), "pkg/metrics": imports(nats)}, []string{"(in pkg/metrics)"}},
		"bus": {graph{"pkg/vecstore": imports("pkg/wire"), "pkg/wire": imports("pkg/bus"), "pkg/bus": none},
			[]string{"pkg/vecstore imports pkg/bus (in pkg/wire)"}},
		"queue": {graph{"pkg/queue": imports("github.com/nats-io/nats.go")}, []string{"pkg/queue imports github.com/nats-io"}},
	}
	for name, tc := range cases {
		expect(t, name, append(upwardImports(tc.g), forbiddenImports(tc.g)...), tc.want)
	}
}

func report(t *testing.T, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range violations {
		t.Error(v)
	}
}

// expect compares the number of violations, and a part of each.
func expect(t *testing.T, name string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	if len(got) != len(want) {
		t.Errorf("%s: %d violations %q, want %d", name, len(got), got, len(want))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: the violation is %q, and should mention %q", name, got[i], want[i])
		}
	}
}
