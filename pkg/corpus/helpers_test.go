package corpus

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree writes files, by path relative to a new folder, and returns the folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for rel, text := range files {
		path := filepath.Join(root, filepath.FromSlash(rel))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

type walker func(context.Context, string, func(Document) error) error

// read collects what a walk emits, and checks what holds for every document.
func read(t *testing.T, w walker, root string) ([]Document, error) {
	t.Helper()
	var docs []Document
	seen := map[string]bool{}
	err := w(t.Context(), root, func(d Document) error {
		if seen[d.ID] {
			t.Errorf("the id %q was emitted twice", d.ID)
		}
		seen[d.ID] = true
		checkDocument(t, d)
		docs = append(docs, d)
		return nil
	})
	return docs, err
}

var legalSpace = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func checkDocument(t *testing.T, d Document) {
	t.Helper()
	switch {
	case !legalSpace.MatchString(d.Space):
		t.Errorf("%s: illegal space %q", d.ID, d.Space)
	case d.ID == "" || len(d.ID) > MaxID || !utf8.ValidString(d.ID):
		t.Errorf("illegal id %q", d.ID)
	case d.Text == "" || len(d.Text) > MaxText || !utf8.ValidString(d.Text):
		t.Errorf("%s: illegal text of %d bytes", d.ID, len(d.Text))
	}
}

func ids(docs []Document) []string {
	var s []string
	for _, d := range docs {
		s = append(s, d.Space+" "+d.ID)
	}
	return s
}
