// Package arch checks that the house is built as it is drawn: which package may import which, how long a file may be,
// what a package may hold. The drawing is DESIGN.md chapter 3; the table in layers.go is its text form.
package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path in go.mod; paths of packages here are relative to it.
const Module = "github.com/tipring/tipring"

// A Package is one folder of Go files.
type Package struct {
	Path  string // relative to the module; "." is the top
	Name  string
	Files []File // without tests
	Tests []File
}

// A File is one Go file, parsed.
type File struct {
	Path      string // relative to the module
	Lines     int
	Generated bool
	Syntax    *ast.File
	Fset      *token.FileSet
}

// Imports are the import paths of a file.
func (f File) Imports() []string {
	out := make([]string, 0, len(f.Syntax.Imports))
	for _, s := range f.Syntax.Imports {
		out = append(out, strings.Trim(s.Path.Value, "\"`"))
	}
	return out
}

// Position says where n is, for messages.
func (f File) Position(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.Fset.Position(n.Pos()).Line)
}

// Load parses all Go files under root, except in hidden folders, testdata and node_modules.
func Load(root string) ([]Package, error) {
	byPath := map[string]*Package{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody's temporary file
		}
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := parse(p, filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		dir := path.Dir(f.Path)
		pkg := byPath[dir]
		if pkg == nil {
			pkg = &Package{Path: dir}
			byPath[dir] = pkg
		}
		if strings.HasSuffix(name, "_test.go") {
			pkg.Tests = append(pkg.Tests, f)
			return nil
		}
		pkg.Name = f.Syntax.Name.Name
		pkg.Files = append(pkg.Files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("arch: read %s: %w", root, err)
	}
	out := make([]Package, 0, len(byPath))
	for _, p := range byPath {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

func parse(file, rel string) (File, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return File{}, err
	}
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, rel, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	return File{
		Path:      rel,
		Lines:     strings.Count(string(src), "\n"),
		Generated: ast.IsGenerated(syntax),
		Syntax:    syntax,
		Fset:      fset,
	}, nil
}
