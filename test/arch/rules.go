package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// MaxLines of a file that is neither test nor generated.
const MaxLines = 500

// Names says which packages have no doc comment, or a name that says nothing.
func Names(pkgs []Package) []string {
	var bad []string
	empty := []string{"utils", "util", "common", "helpers", "helper", "manager", "types", "defs", "base", "misc"}
	for _, p := range pkgs {
		if len(p.Files) == 0 {
			continue
		}
		if slices.Contains(empty, p.Name) {
			bad = append(bad, fmt.Sprintf("%s: a package named %q says nothing about its job", p.Path, p.Name))
		}
		docs := 0
		for _, f := range p.Files {
			if f.Syntax.Doc != nil && strings.TrimSpace(f.Syntax.Doc.Text()) != "" {
				docs++
			}
		}
		switch {
		case docs == 0:
			bad = append(bad, fmt.Sprintf("%s: no doc comment that says the package's job in a sentence", p.Path))
		case docs > 1:
			bad = append(bad, fmt.Sprintf("%s: %d files have a package comment; one should", p.Path, docs))
		}
	}
	return bad
}

// Lengths says which files are too long.
func Lengths(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		for _, f := range p.Files {
			if f.Lines > MaxLines && !f.Generated {
				bad = append(bad, fmt.Sprintf("%s: %d lines, at most %d", f.Path, f.Lines, MaxLines))
			}
		}
	}
	return bad
}

// Globals says which packages have init functions or variables of their own that are more than errors, embedded files,
// proofs that a type implements an interface, and tables that nobody changes.
func Globals(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		changed := assigned(p)
		for _, f := range p.Files {
			if f.Generated {
				continue
			}
			for _, d := range f.Syntax.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.Name == "init" {
						bad = append(bad, f.Position(d)+": func init")
					}
				case *ast.GenDecl:
					if d.Tok == token.VAR {
						bad = append(bad, globals(p, f, d, changed)...)
					}
				}
			}
		}
	}
	return bad
}

func globals(p Package, f File, d *ast.GenDecl, changed map[string]bool) []string {
	var bad []string
	for _, s := range d.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok || embedded(d, v) {
			continue
		}
		for i, n := range v.Names {
			var value ast.Expr
			if i < len(v.Values) {
				value = v.Values[i]
			}
			switch {
			case n.Name == "_":
			case p.Path == "cmd/tipring" && n.Name == "version": // the linker sets it
			case strings.HasPrefix(strings.ToLower(n.Name), "err") && isCall(value, "errors.New", "fmt.Errorf", "engine.Errorf", "Errorf"):
			case !n.IsExported() && !changed[n.Name] && table(value):
			default:
				bad = append(bad, fmt.Sprintf("%s: var %s: a package has no variables but errors, embedded files and tables that nobody changes", f.Position(n), n.Name))
			}
		}
	}
	return bad
}

func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, g := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if g == nil {
			continue
		}
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// table reports whether an expression makes a value that is never changed: a literal, a compiled expression, a
// value made once.
func table(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		return isCall(e, "regexp.MustCompile", "template.Must", "sync.OnceValue", "sync.OnceValues", "strings.NewReplacer",
			"netip.MustParsePrefix", "netip.MustParseAddr")
	}
	return false
}

func isCall(e ast.Expr, names ...string) bool {
	c, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	return slices.Contains(names, selector(c.Fun))
}

func selector(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// assigned are the names that something in the package assigns to, element by element or whole, or takes the address
// of. It goes by name alone, so it errs on the strict side.
func assigned(p Package) map[string]bool {
	out := map[string]bool{}
	mark := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.Ident:
				out[x.Name] = true
			}
			return
		}
	}
	for _, f := range p.Files {
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, l := range n.Lhs {
						mark(l)
					}
				}
			case *ast.IncDecStmt:
				mark(n.X)
			}
			return true
		})
	}
	return out
}

// Floor says where the audio floor has sockets, goroutines, logging or a clock.
func Floor(pkgs []Package) []string {
	var bad []string
	forbidden := []string{"net", "log", "syscall", "os/exec", "os/signal", "golang.org/x/sys"}
	clock := []string{"time.Now", "time.Sleep", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Tick", "time.Since", "time.Until"}
	for _, p := range pkgs {
		if !slices.Contains(floor(), p.Path) {
			continue
		}
		for _, f := range p.Files {
			for _, imp := range f.Imports() {
				if slices.ContainsFunc(forbidden, func(x string) bool { return imp == x || strings.HasPrefix(imp, x+"/") }) {
					bad = append(bad, fmt.Sprintf("%s: imports %s; the audio floor has no sockets and no logging", f.Path, imp))
				}
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					bad = append(bad, f.Position(n)+": a goroutine; the audio floor runs in whatever thread pulls it")
				case *ast.CallExpr:
					if s := selector(n.Fun); slices.Contains(clock, s) {
						bad = append(bad, fmt.Sprintf("%s: %s; on the audio floor time is an argument", f.Position(n), s))
					}
				}
				return true
			})
		}
	}
	return bad
}
