// Package docs renders the contract and the error codes as pages for humans: plain HTML and one style sheet, nothing
// from elsewhere, no scripts.
package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tipring/tipring/api/problem"
)

//go:embed *.tmpl style.css
var files embed.FS

// Options is what the pages show.
type Options struct {
	Document *openapi3.T   // the contract
	Source   []byte        // as it was written, served as /openapi.yaml
	Errors   []problem.Doc // the error codes
}

// policy lets the pages load their own style sheet and nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is a response.
type page struct {
	contentType string
	body        []byte
	zipped      []byte
	etag        string
}

// pages are the responses by path, each made when it is asked for first.
type pages map[string]func() (*page, error)

// New serves the pages /, /docs, /docs/errors, /docs/errors/{code}, /docs/style.css and /openapi.yaml.
func New(o Options) (http.Handler, error) {
	templates, err := template.New("").Funcs(template.FuncMap{"text": text}).ParseFS(files, "*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	style, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	p := pages{}
	p.add("/docs/style.css", "text/css; charset=utf-8", func() ([]byte, error) { return style, nil })
	p.add("/openapi.yaml", "application/yaml", func() ([]byte, error) { return o.Source, nil })
	html := func(path, name string, data func() any) {
		p.add(path, "text/html; charset=utf-8", func() ([]byte, error) {
			var b bytes.Buffer
			err := templates.ExecuteTemplate(&b, name, data())
			return b.Bytes(), err
		})
	}
	html("/", "start.tmpl", func() any { return o.Document.Info })
	html("/docs", "reference.tmpl", func() any { return newReference(o.Document) })
	html("/docs/errors", "errors.tmpl", func() any { return o.Errors })
	for _, e := range o.Errors {
		html("/docs/errors/"+string(e.Code), "error.tmpl", func() any { return e })
	}
	return p, nil
}

func (p pages) add(path, contentType string, render func() ([]byte, error)) {
	p[path] = sync.OnceValues(func() (*page, error) {
		body, err := render()
		if err != nil {
			return nil, fmt.Errorf("docs: %s: %w", path, err)
		}
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(body); err != nil {
			return nil, fmt.Errorf("docs: %s: %w", path, err)
		}
		if err := z.Close(); err != nil {
			return nil, fmt.Errorf("docs: %s: %w", path, err)
		}
		sum := sha256.Sum256(body)
		return &page{
			contentType: contentType, body: body, zipped: zipped.Bytes(), etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		}, nil
	})
}

// ServeHTTP implements http.Handler.
func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	made := p[r.URL.Path]
	if made == nil && r.URL.Path == "/docs/" {
		http.Redirect(w, r, "/docs", http.StatusMovedPermanently)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if made == nil {
		http.Error(w, "There is no such page. The documentation is at /docs.", http.StatusNotFound)
		return
	}
	found, err := made()
	if err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", found.etag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == found.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", found.contentType)
	body := found.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = found.zipped
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone
	}
}
