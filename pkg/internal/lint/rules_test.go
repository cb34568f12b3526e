package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines bounds a file that people write; few should come near it.
const maxLines = 500

// rule finds its violations in one file. Only Go files have a syntax tree.
type rule func(*source) []string

func rules() map[string]rule {
	return map[string]rule{
		"FilesAreShort":      longFile,
		"NoInit":             initFunctions,
		"TestsDoNotSleep":    sleeps,
		"TestsAreNotSkipped": skips,
		"NothingIsPutOff":    markers,
	}
}

func TestHouseRules(t *testing.T) {
	_, sources := repository(t)
	for name, check := range rules() {
		t.Run(name, func(t *testing.T) {
			var violations []string
			for _, s := range sources {
				violations = append(violations, check(s)...)
			}
			report(t, violations)
		})
	}
}

func longFile(s *source) []string {
	if s.file == nil || s.isGenerated() || s.isTestFile() || s.lines() <= maxLines {
		return nil
	}
	return []string{fmt.Sprintf("%s has %d lines; over %d it does more than one thing", s.path, s.lines(), maxLines)}
}

func initFunctions(s *source) (violations []string) {
	if s.file == nil || s.isGenerated() {
		return nil
	}
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			violations = append(violations, s.at(f.Pos())+" has an init function; let the caller make what it needs")
		}
	}
	return violations
}

// sleeps finds time.Sleep, and its disguise "<-time.After(d)" on a line of its
// own. In the literal function given to synctest.Test the clock is not the real
// one, and sleeping is how it is moved.
func sleeps(s *source) (violations []string) {
	if s.file == nil || !s.isTestCode() {
		return nil
	}
	clock, bubble := s.localName("time"), s.localName("testing/synctest")
	inSelect := map[ast.Stmt]bool{} // there it is a deadline
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			return !isSelector(n.Fun, bubble, "Test")
		case *ast.SelectorExpr:
			if isSelector(n, clock, "Sleep") {
				violations = append(violations, s.at(n.Pos())+" sleeps; wait for what the test needs")
			}
		case *ast.CommClause:
			inSelect[n.Comm] = true
		case *ast.ExprStmt:
			if receive, ok := n.X.(*ast.UnaryExpr); ok && receive.Op == token.ARROW && !inSelect[n] {
				if call, ok := receive.X.(*ast.CallExpr); ok && isSelector(call.Fun, clock, "After") {
					violations = append(violations, s.at(n.Pos())+" sleeps by time.After; wait for what the test needs")
				}
			}
		}
		return true
	})
	return violations
}

// isSelector is true for pkg.name; pkg is "" when the file does not import it.
func isSelector(n ast.Expr, pkg, name string) bool {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok || pkg == "" || selector.Sel.Name != name {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// skips finds Skip, Skipf and SkipNow of all that the file declares as a
// *testing.T, B or F, or as a testing.TB: parameters and fields.
func skips(s *source) (violations []string) {
	if s.file == nil || !s.isTestCode() {
		return nil
	}
	handles := testHandles(s)
	ast.Inspect(s.file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, selector.Sel.Name) {
			return true
		}
		name := ""
		switch x := selector.X.(type) {
		case *ast.Ident:
			name = x.Name
		case *ast.SelectorExpr:
			name = x.Sel.Name
		}
		if handles[name] {
			violations = append(violations, s.at(n.Pos())+" skips a test; put what it needs in place, or behind a build tag")
		}
		return true
	})
	return violations
}

func testHandles(s *source) map[string]bool {
	pkg, handles := s.localName("testing"), map[string]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		typ := field.Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		for _, name := range []string{"T", "B", "F", "TB"} {
			if !isSelector(typ, pkg, name) {
				continue
			}
			if len(field.Names) == 0 { // embedded
				handles[name] = true
			}
			for _, ident := range field.Names {
				handles[ident.Name] = true
			}
		}
		return true
	})
	return handles
}

// markers finds the words that put work off. They are spelled in two halves, as
// this file must pass too.
func markers(s *source) (violations []string) {
	word := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	for i, line := range bytes.Split(s.data, []byte("\n")) {
		if found := word.Find(line); found != nil {
			violations = append(violations, fmt.Sprintf("%s:%d says %s; do it, or open an issue", s.path, i+1, found))
		}
	}
	return violations
}

// Each rule, broken and kept.
func TestRulesFindViolations(t *testing.T) {
	const header = "package p\n\nimport (\n\t\"testing\"\n\t\"testing/synctest\"\n\tclock \"time\"\n)\n\n"
	later := "TO" + "DO"
	cases := map[string]struct {
		rule, path, text string
		want             []string
	}{
		"long":           {"FilesAreShort", "a.go", "package p\n" + strings.Repeat("\n", maxLines), []string{"a.go has 501 lines"}},
		"not long":       {"FilesAreShort", "a.go", "package p\n" + strings.Repeat("\n", maxLines-1), nil},
		"long test":      {"FilesAreShort", "a_test.go", "package p\n" + strings.Repeat("\n", maxLines), nil},
		"long generated": {"FilesAreShort", "a.go", "// Code generated by x. DO NOT EDIT.\n\npackage p\n" + strings.Repeat("\n", maxLines), nil},

		"init":           {"NoInit", "a.go", "package p\n\nfunc init() {}\n", []string{"a.go:3 has an init"}},
		"init method":    {"NoInit", "a.go", "package p\n\ntype t int\n\nfunc (t) init() {}\n", nil},
		"init generated": {"NoInit", "a.go", "// Code generated by x. DO NOT EDIT.\n\npackage p\n\nfunc init() {}\n", nil},

		"sleep":           {"TestsDoNotSleep", "a_test.go", header + "func f() { clock.Sleep(1) }\n", []string{"a_test.go:9 sleeps"}},
		"sleep as value":  {"TestsDoNotSleep", "a_test.go", header + "func f() { g(clock.Sleep) }\n", []string{"a_test.go:9 sleeps"}},
		"sleep in helper": {"TestsDoNotSleep", "a.go", header + "func f() { clock.Sleep(1) }\n", []string{"a.go:9 sleeps"}},
		"sleep in code":   {"TestsDoNotSleep", "a.go", "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", nil},
		"sleep in bubble": {"TestsDoNotSleep", "a_test.go", header + "func f(t *testing.T) { synctest.Test(t, func(*testing.T) { clock.Sleep(1) }) }\n", nil},
		"after":           {"TestsDoNotSleep", "a_test.go", header + "func f() { <-clock.After(1) }\n", []string{"by time.After"}},
		"deadline":        {"TestsDoNotSleep", "a_test.go", header + "func f() {\n\tselect {\n\tcase <-c:\n\tcase <-clock.After(1):\n\t}\n}\n", nil},

		"skip":         {"TestsAreNotSkipped", "a_test.go", header + "func f(x *testing.T) { x.Skip() }\n", []string{"a_test.go:9 skips"}},
		"skipf":        {"TestsAreNotSkipped", "a_test.go", header + "func f(tb testing.TB) { tb.Skipf(\"\") }\n", []string{"skips"}},
		"skip a field": {"TestsAreNotSkipped", "a_test.go", header + "type h struct{ t *testing.B }\n\nfunc (h h) f() { h.t.SkipNow() }\n", []string{"a_test.go:11 skips"}},
		"skip in fuzz": {"TestsAreNotSkipped", "a_test.go", header + "func F(f *testing.F) { f.Fuzz(func(t *testing.T) { t.Skip() }) }\n", []string{"skips"}},
		"other skip":   {"TestsAreNotSkipped", "a_test.go", header + "func f(t *testing.T, r reader) { r.Skip() }\n", nil},

		"later":          {"NothingIsPutOff", "a.go", "package p\n\n// " + later + ": more\n", []string{"a.go:3 says"}},
		"later in docs":  {"NothingIsPutOff", "docs/a.md", "(FIX" + "ME)\n", []string{"docs/a.md:1 says"}},
		"later, context": {"NothingIsPutOff", "a.go", "package p\n\nvar c = context." + later + "()\n", []string{"a.go:3 says"}},
		"part of a word": {"NothingIsPutOff", "a.go", "package p\n\n// MASTO" + "DON, " + later + "S\n", nil},
	}
	covered := map[string]bool{}
	for name, tc := range cases {
		s, err := parseSource(tc.path, []byte(tc.text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		covered[tc.rule] = covered[tc.rule] || len(tc.want) > 0
		expect(t, name, rules()[tc.rule](s), tc.want)
	}
	for name := range rules() {
		if !covered[name] {
			t.Errorf("no case breaks the rule %s", name)
		}
	}
}
