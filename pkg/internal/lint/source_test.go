package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one text file of the repository.
type source struct {
	path string // with slashes, from the root of the repository
	data []byte
	fset *token.FileSet
	file *ast.File // nil for what is not Go
}

// parseSource parses a Go file whatever its build constraints are, so that the
// rules hold for every platform and tag.
func parseSource(path string, data []byte) (*source, error) {
	s := &source{path: path, data: data, fset: token.NewFileSet()}
	if !strings.HasSuffix(path, ".go") {
		return s, nil
	}
	file, err := parser.ParseFile(s.fset, path, data, parser.ParseComments)
	s.file = file
	return s, err
}

func (s *source) isTestFile() bool { return strings.HasSuffix(s.path, "_test.go") }

// isTestCode is true for test files, and for packages of helpers and suites.
func (s *source) isTestCode() bool { return s.isTestFile() || slices.Contains(s.imports(), "testing") }

func (s *source) isGenerated() bool { return s.file != nil && ast.IsGenerated(s.file) }

func (s *source) lines() int { return bytes.Count(s.data, []byte("\n")) }

func (s *source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// localName is how the file calls a package that it imports, "" if it does not.
func (s *source) localName(importPath string) string {
	for _, spec := range s.file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

func (s *source) at(pos token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(pos).Line)
}

// repository reads the Go files and the other texts of this repository, and the
// path of its module. Nested modules and testdata belong to somebody else.
func repository(t *testing.T) (module string, sources []*source) {
	t.Helper()
	root := moduleRoot(t)
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(gomod), "\n")
	module = strings.TrimSpace(strings.TrimPrefix(first, "module "))

	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && isForeign(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !isText(name) {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s, err := parseSource(filepath.ToSlash(rel), data)
		if err != nil {
			return err
		}
		sources = append(sources, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return module, sources
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("there is no go.mod above the test's directory")
		}
		dir = parent
	}
}

func isForeign(dir string) bool {
	if base := filepath.Base(dir); base == "testdata" || base == ".git" || base == "node_modules" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func isText(name string) bool {
	switch filepath.Ext(name) {
	case ".go", ".s", ".md", ".proto", ".yml", ".yaml", ".json", ".sh", ".conf", ".html":
		return true
	case "":
		return filepath.Base(filepath.Dir(name)) == ".ci" || strings.HasPrefix(filepath.Base(name), "Dockerfile")
	}
	return false
}
