// Package contract proves that openapi.yaml, the server, the engine's types and the documentation say the same.
package contract

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

const root = "../.."

func contract(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func server(t *testing.T) *api.Server {
	t.Helper()
	store, err := session.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	log := session.NewLog(store, session.LogOptions{})
	t.Cleanup(func() {
		stop()
		_ = log.Close(context.Background())
		_ = store.Close()
	})
	s, err := api.New(api.Options{Commander: engine.New(engine.Options{}), Store: store, Log: log, Keys: session.NewKeys(ctx, store)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestContractIsValid checks openapi.yaml against OpenAPI itself, its examples against their schemas included.
func TestContractIsValid(t *testing.T) {
	doc := contract(t)
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || op.Description == "" || len(op.Tags) != 1 {
				t.Errorf("%s lacks an id of its own, a summary, a description or its tag", name)
			}
			ids[op.OperationID] = true
			scope, _ := op.Extensions["x-scope"].(string)
			if scope != "any" && !slices.Contains(enum(doc, "Scope"), scope) {
				t.Errorf("%s needs the scope %q, which is not there", name, scope)
			}
			checkResponses(t, name, op)
			if op.RequestBody != nil && len(op.RequestBody.Value.Content["application/json"].Examples) == 0 {
				t.Errorf("%s has no example of its body", name)
			}
		}
	}
}

func checkResponses(t *testing.T, name string, op *openapi3.Operation) {
	t.Helper()
	for _, status := range []string{"400", "401", "429", "500", "503"} {
		if op.Responses.Value(status) == nil {
			t.Errorf("%s does not document %s", name, status)
		}
	}
	for status, r := range op.Responses.Map() {
		problem := r.Value.Content["application/problem+json"]
		if status >= "400" && (problem == nil || len(r.Value.Content) != 1 || problem.Example == nil) {
			t.Errorf("%s: %s is no problem+json with an example", name, status)
		}
		for kind, media := range r.Value.Content {
			if status < "400" && media.Example == nil && len(media.Examples) == 0 {
				t.Errorf("%s: %s %s has no example", name, status, kind)
			}
		}
	}
}

// TestRoutes: every operation has a route, every route under /v1 is an operation.
func TestRoutes(t *testing.T) {
	operations, routes := map[string]bool{}, map[string]bool{}
	for path, item := range contract(t).Paths.Map() {
		for method := range item.Operations() {
			operations[method+" "+path] = true
		}
	}
	err := chi.Walk(server(t).Routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasPrefix(route, "/v1") {
			routes[method+" "+route] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if missing, extra := difference(operations, routes); len(missing)+len(extra) > 0 || len(routes) == 0 {
		t.Errorf("operations without a route: %q, routes without an operation: %q", missing, extra)
	}
}

// TestActions: every action of the engine has a path, a schema and, but for run, a place in lists; and vice versa.
func TestActions(t *testing.T) {
	doc := contract(t)
	known := map[string]bool{}
	for _, name := range caseStrings(t, filepath.Join(root, "engine", "decode.go"), "NewAction") {
		known[name] = true
	}
	paths, listed := map[string]bool{}, map[string]bool{"run": true}
	for path, item := range doc.Paths.Map() {
		name, ok := strings.CutPrefix(path, "/v1/calls/{call_id}/actions/")
		if !ok {
			continue
		}
		paths[name] = true
		action, ok := engine.NewAction(name)
		if !ok || action.Name() != name {
			t.Errorf("the engine has no action %q", name)
			continue
		}
		schema := item.Post.RequestBody.Value.Content["application/json"].Schema
		if got := "*" + schema.Value.Extensions["x-go-type"].(string); got != typeName(action) {
			t.Errorf("the body of %s is %s, want %s", name, got, typeName(action))
		}
	}
	instruction := doc.Components.Schemas["Instruction"].Value
	for name, ref := range instruction.Discriminator.Mapping {
		listed[name] = true
		if !slices.ContainsFunc(instruction.OneOf, func(s *openapi3.SchemaRef) bool { return s.Ref == ref.Ref }) {
			t.Errorf("%s is mapped to %s, which is not in oneOf", name, ref.Ref)
		}
	}
	for _, other := range []map[string]bool{paths, listed} {
		if missing, extra := difference(known, other); len(missing)+len(extra) > 0 || len(known) == 0 {
			t.Errorf("missing %q, unknown to the engine %q", missing, extra)
		}
	}
}

// TestEventTypes: every type of event that the code publishes is documented at the schema Event, and vice versa.
func TestEventTypes(t *testing.T) {
	published := map[string]bool{}
	for _, dir := range []string{"engine", "api/webhook"} {
		for _, s := range literals(t, filepath.Join(root, dir)) {
			if isEventType(s) {
				published[s] = true
			}
		}
	}
	documented := map[string]bool{}
	for cell := range strings.SplitSeq(contract(t).Components.Schemas["Event"].Value.Description, "`") {
		if isEventType(cell) {
			documented[cell] = true
		}
	}
	if missing, extra := difference(published, documented); len(missing)+len(extra) > 0 || len(published) < 10 {
		t.Errorf("not documented: %q, never published: %q", missing, extra)
	}
}

func isEventType(s string) bool {
	area, rest, ok := strings.Cut(s, ".")
	return ok && (area == "call" || area == "conference" || area == "trunk" || area == "webhook_endpoint") && rest != "" &&
		strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz_.") == ""
}

// TestGenerated: what `go generate ./api` makes is what is there.
func TestGenerated(t *testing.T) {
	written, err := os.ReadFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := os.ReadFile(filepath.Join(root, "api", "openapi.gen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, embedded) {
		t.Error("api/openapi.gen.yaml is not openapi.yaml: run go generate ./api")
	}
	if testing.Short() {
		t.Skip("the generator takes a while to build")
	}
	out := filepath.Join(t.TempDir(), "api.gen.go")
	cmd := exec.Command("go", "tool", "oapi-codegen", "-config", "oapi-codegen.yaml", "-o", out, "../openapi.yaml")
	cmd.Dir = filepath.Join(root, "api")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(root, "api", "api.gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, made, _ = bytes.Cut(made, []byte("\npackage api\n")) // generate.go puts a head of our own before it
	_, kept, _ = bytes.Cut(kept, []byte("\npackage api\n"))
	if len(made) == 0 || !bytes.Equal(made, kept) {
		t.Error("api/api.gen.go is not what openapi.yaml makes: run go generate ./api")
	}
}

// difference gives what is in a and not in b, and the other way round.
func difference(a, b map[string]bool) (missing, extra []string) {
	for k := range a {
		if !b[k] {
			missing = append(missing, k)
		}
	}
	for k := range b {
		if !a[k] {
			extra = append(extra, k)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	return missing, extra
}

// enum lists the values of a schema.
func enum(doc *openapi3.T, name string) (values []string) {
	for _, v := range doc.Components.Schemas[name].Value.Enum {
		values = append(values, v.(string))
	}
	return values
}

// files parses the Go files of a folder, without tests.
func files(t *testing.T, dir string) (all []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// literals lists the strings in the code of a folder.
func literals(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, f := range files(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field: // struct tags
				return n.Tag == nil
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					all = append(all, s)
				}
			}
			return true
		})
	}
	return all
}

// caseStrings lists the strings of the switch in a function.
func caseStrings(t *testing.T, file, function string) (all []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != function {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					if lit, ok := e.(*ast.BasicLit); ok {
						s, _ := strconv.Unquote(lit.Value)
						all = append(all, s)
					}
				}
			}
			return true
		})
	}
	return all
}
