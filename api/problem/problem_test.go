package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
)

func TestFrom(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		code   engine.Code
		status int
		detail string
		fields int
	}{
		{"engine error", engine.Errorf(engine.CodeCallEnded, "it ended at noon"), engine.CodeCallEnded, 409, "it ended at noon", 0},
		{"wrapped", fmt.Errorf("doing: %w", engine.Errorf(engine.CodeNoRoute, "no trunk")), engine.CodeNoRoute, 422, "no trunk", 0},
		{"with pointer", engine.Invalid("/url", "is empty"), engine.CodeValidation, 422, "/url: is empty", 1},
		{"fault of ours", errors.New("disk /secret/path is full"), engine.CodeInternal, 500, "request_id", 0},
		{"time-out", fmt.Errorf("do: %w", context.DeadlineExceeded), engine.CodeTimeout, 504, "in time", 0},
		{"unknown code", engine.Errorf("brand_new", "x"), engine.CodeInternal, 500, "x", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := problem.From(tt.err, "req_1")
			if d.Code != tt.code || d.Status != tt.status || len(d.Errors) != tt.fields || d.RequestID != "req_1" {
				t.Errorf("From = %+v", d)
			}
			if !strings.Contains(d.Detail, tt.detail) || strings.Contains(d.Detail, "secret") {
				t.Errorf("Detail = %q", d.Detail)
			}
			if d.Type != "/docs/errors/"+string(d.Code) {
				t.Errorf("Type = %q", d.Type)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	if err := problem.From(engine.Invalid("/to", "names nobody"), "req_9").Write(w); err != nil {
		t.Fatal(err)
	}
	if w.Code != 422 || w.Header().Get("Content-Type") != problem.ContentType {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"type", "title", "status", "detail", "code", "request_id", "errors"} {
		if _, ok := got[member]; !ok {
			t.Errorf("member %q is missing in %s", member, w.Body)
		}
	}
}

// TestEveryCodeIsDocumented reads the constants of type engine.Code from the source, so that a new one cannot be
// forgotten in the table.
func TestEveryCodeIsDocumented(t *testing.T) {
	documented := map[engine.Code]int{}
	for _, d := range problem.Docs() {
		documented[d.Code]++
		if d.Status < 400 || d.Status > 599 || d.Title == "" || d.Text == "" {
			t.Errorf("%q lacks something: %+v", d.Code, d)
		}
	}
	found := 0
	for _, file := range []string{filepath.Join("..", "..", "engine", "errors.go"), "problem.go"} {
		for _, code := range codes(t, file) {
			found++
			if documented[code] != 1 {
				t.Errorf("code %q of %s is in the table %d times", code, file, documented[code])
			}
		}
	}
	if found != len(documented) {
		t.Errorf("%d codes in the source, %d in the table", found, len(documented))
	}
}

func codes(t *testing.T, file string) []engine.Code {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []engine.Code
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		lit := spec.Values[0].(*ast.BasicLit)
		code, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, engine.Code(code))
		return true
	})
	return out
}
