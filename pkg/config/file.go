package config

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFileSize is far above any configuration, and below what would make a
// mistaken path (a data file, a device) expensive to read. In bytes.
const maxFileSize = 256 << 10

// maxNesting bounds the brackets that are open at once, and the dashes on a line.
const maxNesting = 16

// readFile returns the content of the file; origin says who named it.
func readFile(path, origin string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration file that %s names cannot be opened: %w", origin, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration file that %s names cannot be read: %w", origin, err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: the configuration file that %s names is over %d KiB; is it the right one?",
			path, origin, maxFileSize>>10)
	}
	return data, nil
}

// applyYAML stores the keys of the document; path is for the messages.
func (b *Binding) applyYAML(data []byte, path string) error {
	root, err := parseYAML(data, path)
	if err != nil || root == nil {
		return err
	}
	r := yamlReader{b: b, path: path, seen: map[string]bool{}}
	return r.section(root, "")
}

// parseYAML returns the body of the only document, nil when it is empty.
func parseYAML(data []byte, path string) (body ast.Node, err error) {
	tokens := lexer.Tokenize(string(data))
	if err := checkTokens(tokens, path); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		// The error's own text quotes the lines around it, which may hold a secret.
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, fmt.Errorf("%s:%d: this is not YAML: %s", path, syntax.GetToken().Position.Line, syntax.GetMessage())
		}
		return nil, fmt.Errorf("%s: this is not YAML", path)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		if body != nil {
			return nil, fmt.Errorf("%s:%d: a second YAML document begins here; put all keys in one", path, line(doc.Body))
		}
		body = doc.Body
	}
	return body, nil
}

// checkTokens refuses what the parser must not see: syntax that a configuration
// has no use for, and nesting for which the parser needs memory quadratic in the
// size of the file (it keeps the path of every node).
func checkTokens(tokens token.Tokens, path string) error {
	flow, entries, entriesLine := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.MappingKeyType:
			return fmt.Errorf("%s:%d: %q begins an anchor, alias, tag, merge or complex key, which are not used here; "+
				"quote it if it is text", path, t.Position.Line, t.Value)
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType: // "- - - x" nests without indentation
			if t.Position.Line != entriesLine {
				entries, entriesLine = 0, t.Position.Line
			}
			entries++
		}
		if flow > maxNesting || entries > maxNesting {
			return fmt.Errorf("%s:%d: more than %d levels of nesting; no key is that deep", path, t.Position.Line, maxNesting)
		}
	}
	return nil
}
