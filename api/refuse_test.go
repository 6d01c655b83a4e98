package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func TestWhoMayDoWhat(t *testing.T) {
	f := newFixture(t)
	for _, h := range []string{"", "Bearer", "Bearer tpk_wrong", "Basic " + f.secret, f.secret} {
		r := f.do("GET", "/v1/calls", "", header("Authorization", h))
		f.refused(r, 401, problem.CodeUnauthorized)
		if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%v", r.header)
		}
	}
	if r := f.do("GET", "/v1/calls", "", header("Authorization", "bearer  "+f.secret)); r.status != 200 {
		t.Errorf("the scheme is not case-sensitive: %d", r.status)
	}
	scopes := []session.Scope{
		session.ScopeCallsRead, session.ScopeCallsWrite, session.ScopeEventsRead, session.ScopeConfigRead,
		session.ScopeConfigWrite, session.ScopeAdmin,
	}
	secrets := map[session.Scope]string{}
	for _, s := range scopes {
		_, secrets[s] = f.newKey("prj_default", s)
	}
	for path, item := range f.server.Document().Paths.Map() {
		for method, op := range item.Operations() {
			need, _ := op.Extensions["x-scope"].(string)
			url := strings.NewReplacer("{", "", "}", "").Replace(path)
			for _, s := range scopes {
				r := f.do(method, url, "", as(secrets[s]))
				may := need == "any" || s == session.Scope(need) || s == session.ScopeAdmin
				if may == (r.status == 403) {
					t.Errorf("%s with %s: %d %s", op.OperationID, s, r.status, r.body)
				}
				if r.status == 403 {
					if p := f.refused(r, 403, problem.CodeScopeMissing); !strings.Contains(p.Detail, need) || !strings.Contains(p.Detail, string(s)) {
						t.Errorf("%s: %q", op.OperationID, p.Detail)
					}
				}
			}
		}
	}
}

// TestOtherProjects shows that what belongs to another project does not exist.
func TestOtherProjects(t *testing.T) {
	f := newFixture(t)
	_, other := f.newKey("prj_other", session.ScopeAdmin)
	app := f.ok("POST", "/v1/applications", `{"name":"mine"}`)
	number := f.ok("POST", "/v1/numbers", `{"number":"mine","application_id":"`+app.string(t, "id")+`"}`)
	f.publish("call_mine", "prj_default", "call.incoming")
	for _, path := range []string{app.header.Get("Location"), number.header.Get("Location"), "/v1/keys/" + f.key.ID} {
		f.refused(f.do("GET", path, "", as(other)), 404, engine.CodeNotFound)
		f.refused(f.do("DELETE", path, "", as(other)), 404, engine.CodeNotFound)
	}
	f.refused(f.do("GET", "/v1/calls/call_mine", "", as(other)), 404, engine.CodeCallNotFound)
	f.refused(f.do("GET", "/v1/calls/call_mine/events?wait_s=30", "", as(other)), 404, engine.CodeCallNotFound)
	for _, path := range []string{"/v1/applications", "/v1/numbers", "/v1/calls", "/v1/events"} {
		if r := f.do("GET", path, "", as(other)); !strings.Contains(string(r.body), `"data":[]`) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	r := f.do("POST", "/v1/numbers", `{"number":"x","application_id":"`+app.string(t, "id")+`"}`, as(other))
	if p := f.refused(r, 422, engine.CodeValidation); p.Errors[0].Pointer != "/application_id" {
		t.Errorf("%+v", p)
	}
	otherApp := f.ok("POST", "/v1/applications", `{"name":"theirs"}`, as(other)).string(t, "id")
	r = f.do("POST", "/v1/numbers", `{"number":"mine","application_id":"`+otherApp+`"}`, as(other))
	f.refused(r, 409, engine.CodeConflict)
}

func TestBodiesThatDoNotFit(t *testing.T) {
	f := newFixture(t)
	const play, calls, apps, run = "/v1/calls/call_live/actions/play", "/v1/calls", "/v1/applications", "/v1/calls/call_live/actions/run"
	tests := []struct {
		name, path, body string
		status           int
		code             engine.Code
		pointers         []string
	}{
		{"no JSON", play, `{"url":`, 400, problem.CodeMalformed, nil},
		{"two values", play, `{"url":"tone:busy"}{}`, 400, problem.CodeMalformed, nil},
		{"nothing", play, ``, 400, problem.CodeMalformed, nil},
		{"no object", play, `[]`, 422, engine.CodeValidation, []string{""}},
		{"null", play, `null`, 422, engine.CodeValidation, []string{""}},
		{"missing", play, `{}`, 422, engine.CodeValidation, []string{"/url"}},
		{"unknown", play, `{"url":"tone:busy","volume":3}`, 422, engine.CodeValidation, []string{"/volume"}},
		{"wrong case", play, `{"URL":"tone:busy"}`, 422, engine.CodeValidation, []string{"/URL", "/url"}},
		{"wrong type", play, `{"url":7}`, 422, engine.CodeValidation, []string{"/url"}},
		{"two faults", play, `{"url":7,"loop":"x"}`, 422, engine.CodeValidation, []string{"/url", "/loop"}},
		{"out of range", play, `{"url":"tone:busy","loop":-2}`, 422, engine.CodeValidation, []string{"/loop"}},
		{"escaped pointer", play, `{"url":"tone:busy","a/b~c":1}`, 422, engine.CodeValidation, []string{"/a~1b~0c"}},
		{"engine's own rule", play, `{"url":"ftp://example.com/x"}`, 422, engine.CodeValidation, []string{"/url"}},
		{"nested", "/v1/calls/call_live/actions/gather", `{"prompt":{"uri":"x"}}`, 422, engine.CodeValidation, []string{"/prompt/uri", "/prompt/url"}},
		{"enum", "/v1/calls/call_live/actions/mute", `{"direction":"up"}`, 422, engine.CodeValidation, []string{"/direction"}},
		{"unknown action in a list", run, `{"instructions":[{"action":"dance"}]}`, 422, engine.CodeValidation, []string{"/instructions/0"}},
		{"no action in a list", run, `{"instructions":[{"url":"x"}]}`, 422, engine.CodeValidation, []string{"/instructions/0"}},
		{"run in a list", run, `{"instructions":[{"action":"run","instructions":[]}]}`, 422, engine.CodeValidation, []string{"/instructions/0"}},
		{"fault in a list", run, `{"instructions":[{"action":"answer"},{"action":"play","url":3}]}`, 422, engine.CodeValidation, []string{"/instructions/1/url"}},
		{"unknown in a list", run, `{"instructions":[{"action":"play","url":"tone:busy","x":1}]}`, 422, engine.CodeValidation, []string{"/instructions/0/x"}},
		{"engine's rule in a list", run, `{"instructions":[{"action":"bridge"}]}`, 422, engine.CodeValidation, []string{"/instructions/0/with"}},
		{"no address", calls, `{"to":"bob"}`, 422, engine.CodeValidation, []string{"/to"}},
		{"no such application", calls, `{"to":"sip:b@192.0.2.1","application_id":"app_x"}`, 422, engine.CodeValidation, []string{"/application_id"}},
		{"private webhook", calls, `{"to":"sip:b@192.0.2.1","webhook_url":"http://10.0.0.1/"}`, 422, engine.CodeValidation, []string{"/webhook_url"}},
		{"header value", calls, `{"to":"sip:b@192.0.2.1","headers":{"X-A":1}}`, 422, engine.CodeValidation, []string{"/headers/X-A"}},
		{"read only", apps, `{"name":"x","id":"app_mine"}`, 422, engine.CodeValidation, []string{"/id"}},
		{"scheme", apps, `{"name":"x","webhook_url":"ftp://example.com"}`, 422, engine.CodeValidation, []string{"/webhook_url"}},
		{"fallback by WebSocket", apps, `{"name":"x","fallback_url":"wss://example.com"}`, 422, engine.CodeValidation, []string{"/fallback_url"}},
		{"loopback", apps, `{"name":"x","webhook_url":"http://[::1]:80/"}`, 422, engine.CodeValidation, []string{"/webhook_url"}},
		{"metadata service", apps, `{"name":"x","fallback_url":"http://169.254.169.254/"}`, 422, engine.CodeValidation, []string{"/fallback_url"}},
		{"localhost", apps, `{"name":"x","webhook_url":"http://localhost/"}`, 422, engine.CodeValidation, []string{"/webhook_url"}},
		{"stored instruction", apps, `{"name":"x","instructions":[{"action":"play","url":"nowhere"}]}`, 422, engine.CodeValidation, []string{"/instructions/0/url"}},
		{"stored fallback", apps, `{"name":"x","fallback_instructions":[{"action":"wait","duration_ms":-1}]}`, 422, engine.CodeValidation, []string{"/fallback_instructions/0/duration_ms"}},
		{"stored fallback, by the engine", apps, `{"name":"x","fallback_instructions":[{"action":"bridge"}]}`, 422, engine.CodeValidation, []string{"/fallback_instructions/0/with"}},
		{"secret", apps, `{"name":"x","webhook_secret":"geheim"}`, 422, engine.CodeValidation, []string{"/webhook_secret"}},
		{"number", "/v1/numbers", `{"number":"a b","application_id":"app_1"}`, 422, engine.CodeValidation, []string{"/number"}},
		{"number of nobody", "/v1/numbers", `{"number":"ab","application_id":"app_1"}`, 422, engine.CodeValidation, []string{"/application_id"}},
		{"scopes", "/v1/keys", `{"name":"x","scopes":["calls:read","root"]}`, 422, engine.CodeValidation, []string{"/scopes/1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := f.refused(f.do("POST", tt.path, tt.body), tt.status, tt.code)
			if len(p.Errors) != len(tt.pointers) {
				t.Fatalf("%+v, want %q", p, tt.pointers)
			}
			for _, want := range tt.pointers {
				found := false
				for _, e := range p.Errors {
					found = found || e.Pointer == want && e.Detail != ""
				}
				if !found {
					t.Errorf("%+v, want %q", p.Errors, tt.pointers)
				}
			}
			if p.Instance != tt.path || p.Type != "/docs/errors/"+string(tt.code) {
				t.Errorf("%+v", p)
			}
		})
	}
	if n := f.commander.count(); n > 4 { // those that only the engine refuses
		t.Errorf("%d commands passed", n)
	}
}

func TestPatchesThatDoNotFit(t *testing.T) {
	f := newFixture(t)
	path := f.ok("POST", "/v1/applications", `{"name":"x"}`).header.Get("Location")
	for body, pointer := range map[string]string{
		`{"name":null}`:                     "/name",
		`{"project_id":"prj_other"}`:        "/project_id",
		`{"webhook_url":"http://10.1.1.1"}`: "/webhook_url",
		`{"instructions":[{"action":"?"}]}`: "/instructions/0",
		`{"on_idle":"explode"}`:             "/on_idle",
	} {
		p := f.refused(f.do("PATCH", path, body), 422, engine.CodeValidation)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if got := f.ok("GET", path, "").string(t, "name"); got != "x" {
		t.Errorf("%q", got)
	}
}

func TestRequestsThatDoNotFit(t *testing.T) {
	f := newFixture(t, func(o *api.Options) { o.AllowPrivateURLs = true })
	f.ok("POST", "/v1/applications", `{"name":"x","webhook_url":"ws://127.0.0.1:9/"}`)
	big := `{"url":"` + strings.Repeat("x", 1<<20) + `"}`
	const play = "/v1/calls/call_live/actions/play"
	tests := []struct {
		name   string
		r      reply
		status int
		code   engine.Code
		detail string
	}{
		{"limit", f.do("GET", "/v1/calls?limit=0", ""), 400, problem.CodeMalformed, "limit"},
		{"limit too high", f.do("GET", "/v1/calls?limit=1001", ""), 400, problem.CodeMalformed, "limit"},
		{"limit no number", f.do("GET", "/v1/calls?limit=x", ""), 400, problem.CodeMalformed, "limit"},
		{"several", f.do("GET", "/v1/calls?limit=x&state=odd", ""), 400, problem.CodeMalformed, "state"},
		{"time", f.do("GET", "/v1/calls?created_after=yesterday", ""), 400, problem.CodeMalformed, "created_after"},
		{"unknown parameter", f.do("GET", "/v1/calls?limt=5", ""), 400, problem.CodeMalformed, "limt"},
		{"cursor", f.do("GET", "/v1/calls?after=rubbish", ""), 400, problem.CodeMalformed, "cursor"},
		{"cursor of events", f.do("GET", "/v1/events?after=rub-bish", ""), 400, problem.CodeMalformed, "cursor"},
		{"cursor of a stream", f.do("GET", "/v1/events?after=rub-bish", "", header("Accept", "text/event-stream")), 400, problem.CodeMalformed, "cursor"},
		{"id", f.do("GET", "/v1/calls/"+strings.Repeat("x", 200), ""), 400, problem.CodeMalformed, "call_id"},
		{"call", f.do("GET", "/v1/calls/call_nobody", ""), 404, engine.CodeCallNotFound, "call_nobody"},
		{"call to command", f.do("POST", "/v1/calls/call_nobody/actions/answer", ""), 404, engine.CodeCallNotFound, "call_nobody"},
		{"path", f.do("GET", "/v1/nowhere", ""), 404, engine.CodeNotFound, "/v1/nowhere"},
		{"action", f.do("POST", "/v1/calls/call_live/actions/dance", ""), 404, engine.CodeNotFound, "dance"},
		{"body too large", f.do("POST", play, big), 413, problem.CodeTooLarge, "1048576"},
		{"media type", f.do("POST", play, `url=x`, header("Content-Type", "application/x-www-form-urlencoded")), 415, problem.CodeMediaType, ""},
		{"body of a GET", f.do("GET", "/v1/calls", `{}`), 400, problem.CodeMalformed, "body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p := f.refused(tt.r, tt.status, tt.code); !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("%q", p.Detail)
			}
		})
	}
	r := f.do("DELETE", "/v1/calls", "")
	f.refused(r, 405, problem.CodeMethodNotAllowed)
	if r.header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %s", r.header.Get("Allow"))
	}
}

// TestWhatTheEngineSays shows that errors of the engine keep their code, and that faults keep their secrets.
func TestWhatTheEngineSays(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		err    error
		status int
		code   engine.Code
	}{
		{engine.Errorf(engine.CodeInvalidState, "the call is not on hold"), 409, engine.CodeInvalidState},
		{engine.Errorf(engine.CodeCallEnded, "over"), 409, engine.CodeCallEnded},
		{engine.Errorf(engine.CodeNoRoute, "no"), 422, engine.CodeNoRoute},
		{engine.Errorf(engine.CodeUnsupported, "no"), 422, engine.CodeUnsupported},
		{engine.Errorf(engine.CodeMediaUnavailable, "no"), 422, engine.CodeMediaUnavailable},
		{engine.Errorf(engine.CodeCapacity, "full"), 503, engine.CodeCapacity},
		{engine.Errorf(engine.CodeDraining, "going"), 503, engine.CodeDraining},
		{context.DeadlineExceeded, 504, engine.CodeTimeout},
		{errors.New("the password is swordfish"), 500, engine.CodeInternal},
	} {
		f.commander.answerWith(func(context.Context, engine.Command) (engine.Reply, error) { return engine.Reply{}, tt.err })
		r := f.do("POST", "/v1/calls/call_live/actions/unhold", "")
		f.refused(r, tt.status, tt.code)
		if strings.Contains(string(r.body), "swordfish") {
			t.Errorf("%s", r.body)
		}
		if (tt.status == 503) != (r.header.Get("Retry-After") != "") {
			t.Errorf("%v: Retry-After %q", tt.err, r.header.Get("Retry-After"))
		}
	}
	if !strings.Contains(f.logs.String(), "swordfish") {
		t.Error("the fault is not in the log")
	}
}

func TestPanic(t *testing.T) {
	f := newFixture(t)
	f.commander.answerWith(func(context.Context, engine.Command) (engine.Reply, error) { panic("boom") })
	p := f.refused(f.do("POST", "/v1/calls/call_live/actions/answer", ""), 500, engine.CodeInternal)
	if logs := f.logs.String(); !strings.Contains(logs, "boom") || !strings.Contains(logs, p.RequestID) || !strings.Contains(logs, "refuse_test.go") {
		t.Errorf("the log has no stack: %s", logs)
	}
	// A create that panicked may be tried again with the same key.
	key := header("Idempotency-Key", "k")
	f.refused(f.do("POST", "/v1/calls", `{"to":"sip:b@192.0.2.1"}`, key), 500, engine.CodeInternal)
	f.commander.answerWith(nil)
	if r := f.do("POST", "/v1/calls", `{"to":"sip:b@192.0.2.1"}`, key); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAccessLog(t *testing.T) {
	f := newFixture(t)
	f.ok("GET", "/v1/calls?from=%2B4930123", "")
	logs := f.logs.String()
	for _, want := range []string{"operation=listCalls", "status=200", "key=" + f.key.ID, "path=/v1/calls", "request_id=req_"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %s: %s", want, logs)
		}
	}
	for _, never := range []string{f.secret, "4930123"} {
		if strings.Contains(logs, never) {
			t.Errorf("the log has %s: %s", never, logs)
		}
	}
}

// TestResponsesAreChecked shows that ValidateResponses finds a response that does not fit.
func TestResponsesAreChecked(t *testing.T) {
	f := newFixture(t)
	f.commander.answerWith(func(context.Context, engine.Command) (engine.Reply, error) {
		call := exampleCall("call_live", "prj_default")
		call.State = "levitating"
		return engine.Reply{Call: &call}, nil
	})
	f.refused(f.do("GET", "/v1/calls/call_live", ""), 500, engine.CodeInternal)
	if !strings.Contains(f.logs.String(), "does not fit the contract") {
		t.Error(f.logs.String())
	}
}

func TestCORS(t *testing.T) {
	preflight := []option{header("Origin", "https://app.example.com"), header("Access-Control-Request-Method", "POST"), header("Authorization", "")}
	f := newFixture(t)
	r := f.do("OPTIONS", "/v1/calls", "", preflight...)
	if r.header.Get("Access-Control-Allow-Origin") != "" || r.status != http.StatusMethodNotAllowed {
		t.Errorf("%d %v", r.status, r.header)
	}
	f = newFixture(t, func(o *api.Options) { o.Origins = []string{"https://app.example.com"} })
	r = f.do("OPTIONS", "/v1/calls", "", preflight...)
	if r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		!strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("%d %v", r.status, r.header)
	}
	r = f.ok("GET", "/v1/calls", "", header("Origin", "https://app.example.com"))
	if r.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("%v", r.header)
	}
	r = f.ok("GET", "/v1/calls", "", header("Origin", "https://evil.example.com"))
	if r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", r.header)
	}
}
