package web

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// The example, the SDK in both forms, under a policy without inline scripts; compressed for who takes that.
func TestSDK(t *testing.T) {
	h := SDK("/sdk/")
	get := func(path, encoding string) (int, string, string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var body io.Reader = w.Body
		if w.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if csp := w.Header().Get("Content-Security-Policy"); w.Code == 200 && (csp == "" || strings.Contains(csp, "unsafe")) {
			t.Errorf("%s: policy %q", path, csp)
		}
		return w.Code, w.Header().Get("Content-Type"), string(b)
	}
	if _, err := os.Stat("sdk/dist/tipring.js"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the SDK was not built: make web")
		}
		if _, _, body := get("/sdk/", ""); !strings.Contains(body, "make build") {
			t.Errorf("%q", body)
		}
		return
	}
	for path, want := range map[string]string{
		"/sdk/": "<title>", "/sdk/tipring.js": "export", "/sdk/tipring.iife.js": "Tipring", "/sdk/example.js": "import", "/sdk/example.css": "color-scheme",
	} {
		for _, encoding := range []string{"", "gzip, br"} {
			if code, kind, body := get(path, encoding); code != 200 || !strings.Contains(body, want) || kind == "" {
				t.Errorf("%s: %d %s %.60q", path, code, kind, body)
			}
		}
	}
	if _, _, page := get("/sdk/", ""); strings.Contains(page, "<script>") || strings.Contains(page, "style=") {
		t.Error("the page has something inline")
	}
	for _, path := range []string{"/sdk/../embed.go", "/sdk/.gitkeep", "/sdk/x"} {
		if code, _, _ := get(path, ""); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}
