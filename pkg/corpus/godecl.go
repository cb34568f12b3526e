package corpus

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
)

// goFile is what a Go file says in its documentation comments.
type goFile struct {
	name  string // of the package; for a command, of its folder, since "main" says nothing
	decls []goDecl
}

// goDecl is one documented declaration.
type goDecl struct {
	kind     string // func, method, type, const, var, "type group", "const group", "var group", or package
	symbol   string // "Scanner", "Scanner.Scan"; of a group "const(O_RDONLY)", after its first name; of a package ""
	names    string // how the text begins: the symbol, or the names that a spec or group declares
	text     string // the comment, normalised
	line     int
	exported bool // a method is exported when its own name and its type's are; a group when any name of it is
}

// maxNames bounds how many names of a group go into its text.
const maxNames = 12

// parseGo finds the documented top-level declarations and methods of a file, in the order of the source. rel is its path
// relative to the root. If the file does not parse, the declarations before the error come with the error.
func parseGo(rel string, src []byte) (goFile, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, rel, src, parser.ParseComments|parser.SkipObjectResolution)
	if f == nil {
		return goFile{}, err
	}
	g := goFile{name: "main"}
	if f.Name != nil {
		g.name = f.Name.Name
	}
	if dir := path.Base(path.Dir(rel)); g.name == "main" && dir != "." {
		g.name = dir
	}
	add := func(pos token.Pos, doc *ast.CommentGroup, d goDecl) {
		// Text drops the comment markers and directives such as //go:build and //go:linkname.
		if d.text = normalise(doc.Text()); d.text != "" {
			d.line = fset.PositionFor(pos, false).Line // not what a //line comment claims
			g.decls = append(g.decls, d)
		}
	}
	add(f.Package, f.Doc, goDecl{kind: "package", exported: true})
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			add(decl.Name.Pos(), decl.Doc, funcDecl(decl))
		case *ast.GenDecl:
			addGenDecl(decl, add)
		}
	}
	return g, err
}

func funcDecl(f *ast.FuncDecl) goDecl {
	d := goDecl{kind: "func", symbol: f.Name.Name, exported: f.Name.IsExported()}
	if f.Recv != nil && len(f.Recv.List) > 0 {
		recv := receiver(f.Recv.List[0].Type)
		d.kind = "method"
		d.symbol = recv + "." + d.symbol
		d.exported = d.exported && ast.IsExported(recv)
	}
	d.names = d.symbol
	return d
}

// receiver is the name of a method's type, without pointer and type parameters.
func receiver(e ast.Expr) string {
	for {
		switch t := e.(type) {
		case *ast.StarExpr:
			e = t.X
		case *ast.ParenExpr:
			e = t.X
		case *ast.IndexExpr:
			e = t.X
		case *ast.IndexListExpr:
			e = t.X
		case *ast.Ident:
			return t.Name
		default:
			return "_"
		}
	}
}

// addGenDecl adds the comment of a const, type or var declaration, and those of the specs inside a group. An import
// declares no name, and its comment, which is cgo's, is left out for that.
func addGenDecl(decl *ast.GenDecl, add func(token.Pos, *ast.CommentGroup, goDecl)) {
	group := decl.Lparen.IsValid()
	kind := decl.Tok.String()
	var all []string
	for _, spec := range decl.Specs {
		all = append(all, specNames(spec)...)
	}
	if len(all) == 0 {
		return // an import, "const ()", or what a syntax error left of one
	}
	whole := goDecl{kind: kind, symbol: all[0], names: list(all), exported: anyExported(all)}
	if group {
		whole.kind, whole.symbol = kind+" group", kind+"("+all[0]+")"
	}
	add(decl.Pos(), decl.Doc, whole)
	for _, spec := range decl.Specs {
		names := specNames(spec)
		if len(names) == 0 {
			continue
		}
		d := goDecl{kind: kind, symbol: names[0], names: list(names), exported: anyExported(names)}
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			add(spec.Pos(), spec.Doc, d)
		case *ast.ValueSpec:
			add(spec.Pos(), spec.Doc, d)
		}
	}
}

func specNames(spec ast.Spec) []string {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		return []string{spec.Name.Name}
	case *ast.ValueSpec:
		var names []string
		for _, n := range spec.Names {
			names = append(names, n.Name)
		}
		return names
	default:
		return nil
	}
}

func anyExported(names []string) bool {
	for _, n := range names {
		if ast.IsExported(n) {
			return true
		}
	}
	return false
}

func list(names []string) string {
	if len(names) > maxNames {
		return strings.Join(names[:maxNames], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// document turns a declaration into a document without space and id.
func (g goFile) document(rel string, d goDecl) Document {
	prefix := "package " + g.name
	if d.symbol != "" {
		prefix = g.name + "." + d.names
	}
	pkg := path.Dir(rel)
	if pkg == "." {
		pkg = g.name // Go in the root of a folder: its import path is not to be seen
	}
	return Document{
		Text:   cut(prefix+": "+d.text, MaxText),
		Source: rel + ":" + strconv.Itoa(d.line),
		Metadata: map[string]string{
			"package":  pkg,
			"symbol":   d.symbol,
			"kind":     d.kind,
			"exported": strconv.FormatBool(d.exported),
		},
	}
}
