package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tipring/tipring/engine"
)

// FuzzJSONCommands sends bodies to every action and to the creates: whatever they are, the answer is in the contract and
// never a fault of ours, and what passes is a command that engine and JSON can carry.
func FuzzJSONCommands(f *testing.F) {
	actions := []string{
		"answer", "ring", "reject", "hangup", "play", "gather", "bridge", "unbridge", "hold", "unhold", "mute", "unmute",
		"send_dtmf", "echo", "wait", "stop", "run", "",
	}
	for i, seed := range []string{
		``, `{"early_media":true}`, `{"status":486,"headers":{"X-A":"b"}}`, `{"cause":"busy"}`, `{"url":"tone:440/1000","loop":-1}`,
		`{"prompt":{"url":"file:a.wav"},"max_digits":4,"finish_on_key":"none"}`, `{"to":"sip:bob@192.0.2.1","auth":{"username":"u","password":"p"}}`,
		`{}`, `{"music":"tone:busy"}`, `null`, `{"direction":"both"}`, `[]`, `{"digits":"1w#"}`, `{"duration_ms":1e3}`, `{"duration_ms":1.5}`,
		`{"all":1}`, `{"instructions":[{"action":"play","url":"{digits}"},{"action":"run"}],"mode":"append"}`, `{"to":"sip:b@192.0.2.1","instructions":[null]}`,
		`{"url":"tone:busy"}{"url":"x"}`, `{"url":"` + strings.Repeat("\\u0000", 9) + `"}`, "\xff", `{"instructions":[{"action":["play"]}]}`, `{"loop":99999999999999999999,"url":"tone:busy"}`,
	} {
		f.Add(uint8(i%len(actions)), []byte(seed))
	}
	fx := newFixture(f)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		action := actions[int(which)%len(actions)]
		path := "/v1/calls/call_live/actions/" + action
		if action == "" {
			path = "/v1/calls"
		}
		before := fx.commander.count()
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer "+fx.secret)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		fx.server.ServeHTTP(w, req)
		if w.Code >= 500 { // with ValidateResponses a response that does not fit is one, too
			t.Fatalf("%s %q: %d %s", path, body, w.Code, w.Body)
		}
		if w.Code >= 300 {
			if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
				t.Fatalf("%d as %s", w.Code, got)
			}
			return
		}
		if fx.commander.count() != before+1 {
			t.Fatalf("%s %q: %d, but no command arrived", path, body, w.Code)
		}
		cmd := fx.commander.last(t)
		if err := engine.Validate(cmd); err != nil {
			t.Fatalf("%q passed: %v", body, err)
		}
		if _, err := json.Marshal(cmd); err != nil {
			t.Fatal(err)
		}
	})
}
