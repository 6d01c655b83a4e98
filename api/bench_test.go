package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
)

// BenchmarkAction is a REST command from the router to the Commander and back, without the socket.
func BenchmarkAction(b *testing.B) {
	f := benchFixture(b)
	body := `{"url":"https://example.com/welcome.wav","loop":2,"command_id":"cmd_4711"}`
	b.ReportAllocs()
	for b.Loop() {
		f.serve(b, http.MethodPost, "/v1/calls/call_live/actions/play", body, 202)
	}
}

// BenchmarkRun is a list of instructions.
func BenchmarkRun(b *testing.B) {
	f := benchFixture(b)
	body := `{"instructions":[{"action":"answer"},{"action":"gather","prompt":{"url":"file:menu.wav"},"max_digits":1},{"action":"hangup"}]}`
	b.ReportAllocs()
	for b.Loop() {
		f.serve(b, http.MethodPost, "/v1/calls/call_live/actions/run", body, 202)
	}
}

// BenchmarkCreateCall is POST /v1/calls without an Idempotency-Key.
func BenchmarkCreateCall(b *testing.B) {
	f := benchFixture(b)
	body := `{"from":"+4930123","to":"sip:bob@192.0.2.20","instructions":[{"action":"play","url":"tone:440/1000"}]}`
	b.ReportAllocs()
	for b.Loop() {
		f.serve(b, http.MethodPost, "/v1/calls", body, 201)
	}
}

// BenchmarkRefused is a request whose body does not fit.
func BenchmarkRefused(b *testing.B) {
	f := benchFixture(b)
	b.ReportAllocs()
	for b.Loop() {
		f.serve(b, http.MethodPost, "/v1/calls/call_live/actions/play", `{"uri":"x"}`, 422)
	}
}

func benchFixture(b *testing.B) *fixture {
	b.Helper()
	call := exampleCall("call_live", "prj_default")
	return newFixture(b, func(o *api.Options) {
		o.Rate, o.ValidateResponses = -1, false
		o.Logger = slog.New(slog.DiscardHandler)
		o.Commander = commanderFunc(func(context.Context, engine.Command) (engine.Reply, error) {
			return engine.Reply{Call: &call, CommandID: "cmd_1"}, nil
		})
	})
}

type commanderFunc func(context.Context, engine.Command) (engine.Reply, error)

func (f commanderFunc) Do(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
	return f(ctx, cmd)
}

func (f *fixture) serve(b *testing.B, method, path, body string, status int) {
	b.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+f.secret)
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	f.server.ServeHTTP(w, req)
	if w.Code != status {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
}
