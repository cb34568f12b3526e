package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// yamlReader walks one document.
type yamlReader struct {
	b    *Binding
	path string
	seen map[string]bool
}

func (r *yamlReader) source(n ast.Node) string { return fmt.Sprintf("%s:%d", r.path, line(n)) }

func (r *yamlReader) section(n ast.Node, prefix string) error {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.NullNode: // every key of the section is commented out
		return nil
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		if prefix == "" {
			return fmt.Errorf("%s: the file must be a list of \"key: value\" lines", r.source(n))
		}
		return fmt.Errorf("%s: %s is a section; its keys go on lines of their own, indented", r.source(n), prefix[:len(prefix)-1])
	}
	for _, entry := range entries {
		if err := r.entry(entry, prefix); err != nil {
			return err
		}
	}
	return nil
}

func (r *yamlReader) entry(entry *ast.MappingValueNode, prefix string) error {
	text, ok := scalarText(entry.Key)
	if !ok {
		return fmt.Errorf("%s: a key must be one word", r.source(entry.Key))
	}
	name := prefix + text
	if r.seen[name] {
		return fmt.Errorf("%s: %s is given twice", r.source(entry.Key), name)
	}
	r.seen[name] = true
	if r.b.sections[name] {
		return r.section(entry.Value, name+".")
	}
	k := r.b.byName(name)
	if k == nil {
		return r.unknown(entry.Key, name)
	}
	return r.leaf(k, entry)
}

func (r *yamlReader) unknown(n ast.Node, name string) error {
	known := slices.Collect(maps.Keys(r.b.sections))
	slices.Sort(known) // of two that are equally near, always the same
	for _, k := range r.b.keys {
		known = append(known, k.name)
	}
	reason := suggest(name, known, "")
	return &Error{Source: r.source(n), Key: name, Reason: reason, kind: ErrUnknownKey}
}

func (r *yamlReader) leaf(k *key, entry *ast.MappingValueNode) error {
	source := r.source(entry.Key)
	if !k.isList() {
		text, ok := scalarText(entry.Value)
		if !ok {
			return k.reject(entry.Value.Type().String(), source, "must be "+k.allowed())
		}
		return k.set([]string{text}, source)
	}
	list, ok := entry.Value.(*ast.SequenceNode)
	if !ok {
		return k.reject(entry.Value.Type().String(), source, "must be a list, [a, b], in which each element is "+k.allowed())
	}
	texts := make([]string, len(list.Values))
	for i, n := range list.Values {
		if texts[i], ok = scalarText(n); !ok {
			return k.reject(n.Type().String(), source, "must be a list, [a, b], in which each element is "+k.allowed())
		}
	}
	return k.set(texts, source)
}

// scalarText is the text of a plain, quoted or block scalar as it is written, so
// that a value means the same in the file, in a variable and in a flag.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func line(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}
