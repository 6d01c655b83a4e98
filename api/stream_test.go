package api_test

import (
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine/session"
)

// TestStream shows that GET /v1/stream is handed over with its key, upgraded through all that stands before it.
func TestStream(t *testing.T) {
	f := newFixture(t, func(o *api.Options) {
		o.Stream = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var u websocket.Upgrader
			conn, err := u.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			key := api.KeyFrom(r.Context())
			_ = conn.WriteJSON(map[string]string{"key": key.ID, "request": api.RequestIDFrom(r.Context())})
		})
	})
	url := "ws" + f.url[len("http"):] + "/v1/stream"
	conn, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Authorization": {"Bearer " + f.secret}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var hello map[string]string
	if err := conn.ReadJSON(&hello); err != nil || hello["key"] != f.key.ID || hello["request"] == "" {
		t.Errorf("%v %v", hello, err)
	}
	if resp.StatusCode != 101 {
		t.Errorf("%d", resp.StatusCode)
	}
	if _, resp, err = websocket.DefaultDialer.Dial(url, nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("%v %v", resp, err)
	}
	_, poor := f.newKey("prj_default", session.ScopeConfigRead)
	f.refused(f.do("GET", "/v1/stream", "", as(poor)), 403, problem.CodeScopeMissing)
	f.refused(newFixture(t).do("GET", "/v1/stream", ""), 503, problem.CodeUnavailable)
}
