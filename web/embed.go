// Package web holds what pages need, as files in the program: the SDK and its example, and the console.
package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// files are the SDK and the console as they were built, and the SDK's example. Without a build there are placeholders only:
// then a page says how to build them.
//
//go:embed all:sdk/dist all:sdk/example all:console/dist
var files embed.FS

// policy lets pages load what comes from here and nothing else, and speak to here only.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// asset is a file, and the same compressed.
type asset struct {
	kind       string
	hashed     bool // its name changes with what is in it
	data, gzip []byte
}

// SDK serves the SDK and its example under prefix: tipring.js (a module), tipring.iife.js (the global Tipring), and the
// example as the folder's page.
func SDK(prefix string) http.Handler { return folder(prefix, "tipring.js", "sdk/example", "sdk/dist") }

// Console serves the console under prefix.
func Console(prefix string) http.Handler { return folder(prefix, "index.html", "console/dist") }

// folder serves the files of folders under prefix, index.html as the folder's page. If the file sign is not there, nothing was
// built.
func folder(prefix, sign string, folders ...string) http.Handler {
	assets := map[string]asset{}
	for _, folder := range folders {
		_ = fs.WalkDir(files, folder, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
				return err
			}
			data, err := files.ReadFile(name)
			if err == nil {
				assets[strings.TrimPrefix(name, folder+"/")] = newAsset(name, data)
			}
			return err
		})
	}
	assets[""] = assets["index.html"]
	if _, built := assets[sign]; !built {
		assets = map[string]asset{"": newAsset("x.txt", []byte("This was not built into the program: run make build (it needs Node).\n"))}
	}
	return http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	}))
}

func newAsset(name string, data []byte) asset {
	a := asset{kind: mime.TypeByExtension(path.Ext(name)), hashed: strings.Contains(name, "/assets/"), data: data}
	if path.Ext(name) == ".txt" {
		a.kind = "text/plain; charset=utf-8"
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return a
	}
	if _, err := z.Write(data); err == nil && z.Close() == nil && b.Len() < len(data) {
		a.gzip = b.Bytes()
	}
	return a
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("Permissions-Policy", "microphone=(self)")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	if a.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Vary", "Accept-Encoding")
	body := a.data
	if a.gzip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who does not read it gets none
	}
}
