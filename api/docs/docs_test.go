package docs_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tipring/tipring/api/docs"
	"github.com/tipring/tipring/api/problem"
)

func handler(t *testing.T) (http.Handler, *openapi3.T) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h, err := docs.New(docs.Options{Document: doc, Source: []byte("openapi: 3.0.3\n"), Errors: problem.Docs()})
	if err != nil {
		t.Fatal(err)
	}
	return h, doc
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// element is what the tests need of a page: its elements with their attributes, and all its text.
type element struct {
	name  string
	attrs map[string]string
}

// parse reads a page; every element must be closed.
func parse(t *testing.T, page string) (elements []element, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(page, "<!doctype html>", "", 1)))
	d.AutoClose, d.Entity = xml.HTMLAutoClose, xml.HTMLEntity
	d.Strict = false
	var open []string
	var b strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if len(open) != 0 {
				t.Fatalf("never closed: %q", open)
			}
			return elements, b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			elements, open = append(elements, e), append(open, e.name)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != token.Name.Local {
				t.Fatalf("</%s> within %q", token.Name.Local, open)
			}
			open = open[:len(open)-1]
		case xml.CharData:
			b.Write(token)
		}
	}
}

// TestReference shows that the page has every operation, parameter, schema and example, that every link within it leads
// somewhere, and that it loads nothing from elsewhere.
func TestReference(t *testing.T) {
	h, doc := handler(t)
	w := get(h, "/docs")
	elements, text := parse(t, w.Body.String())
	ids, operations := map[string]bool{}, map[string]bool{}
	for _, e := range elements {
		if id := e.attrs["id"]; id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = true
		}
		operations[e.attrs["data-operation"]] = true
	}
	for _, e := range elements {
		if fragment, ok := strings.CutPrefix(e.attrs["href"], "#"); ok && !ids[fragment] {
			t.Errorf("a link leads to #%s, which is not there", fragment)
		}
		switch src := e.attrs["src"]; {
		case e.name == "script", e.name == "iframe", src != "", e.attrs["style"] != "":
			t.Errorf("the page has <%s src=%q style=%q>", e.name, src, e.attrs["style"])
		case e.name == "link" && e.attrs["href"] != "/docs/style.css" && e.attrs["href"] != "data:,":
			t.Errorf("the page loads %s", e.attrs["href"])
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !operations[method+" "+path] || !ids[op.OperationID] {
				t.Errorf("%s %s is missing", method, path)
			}
			for _, p := range append(op.Parameters, item.Parameters...) {
				if !strings.Contains(text, p.Value.Name) {
					t.Errorf("%s: the parameter %s is missing", op.OperationID, p.Value.Name)
				}
			}
			if op.RequestBody == nil {
				continue
			}
			for name, e := range op.RequestBody.Value.Content["application/json"].Examples {
				if !strings.Contains(text, e.Value.Summary) {
					t.Errorf("%s: the example %s is missing", op.OperationID, name)
				}
			}
		}
	}
	for name := range doc.Components.Schemas {
		if !ids["schema-"+name] {
			t.Errorf("the schema %s is missing", name)
		}
	}
	for _, want := range []string{`curl $TIPRING/v1/calls/call_01k8m3v0q2e7/actions/play`, "webhook-signature", `"action": "gather"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
}

func TestErrorPages(t *testing.T) {
	h, _ := handler(t)
	_, list := parse(t, get(h, "/docs/errors").Body.String())
	for _, e := range problem.Docs() {
		w := get(h, "/docs/errors/"+string(e.Code))
		_, text := parse(t, w.Body.String())
		if w.Code != 200 || !strings.Contains(text, e.Title) || !strings.Contains(list, string(e.Code)) {
			t.Errorf("%s: %d %s", e.Code, w.Code, text)
		}
	}
	if w := get(h, "/docs/errors/unknown"); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
}

func TestServing(t *testing.T) {
	h, _ := handler(t)
	_, start := parse(t, get(h, "/").Body.String())
	if !strings.Contains(start, "API reference") {
		t.Error(start)
	}
	w := get(h, "/openapi.yaml")
	if w.Body.String() != "openapi: 3.0.3\n" || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	plain, zipped := get(h, "/docs"), get(h, "/docs", "Accept-Encoding", "gzip")
	if zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Body.Len() >= plain.Body.Len()/3 {
		t.Errorf("%d of %d bytes", zipped.Body.Len(), plain.Body.Len())
	}
	if w := get(h, "/docs", "If-None-Match", plain.Header().Get("ETag")); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("%d", w.Code)
	}
	if w := get(h, "/docs/"); w.Code != 301 || w.Header().Get("Location") != "/docs" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := get(h, "/docs/style.css"); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("%v", w.Header())
	}
}
