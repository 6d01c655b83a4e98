package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/token"
)

// recordingCommander answers every command as an engine would, and remembers it.
type recordingCommander struct {
	mu       sync.Mutex
	commands []engine.Command
	answer   func(ctx context.Context, cmd engine.Command) (engine.Reply, error)
}

// answerWith puts f in the place of the usual answer; nil takes it away.
func (c *recordingCommander) answerWith(f func(ctx context.Context, cmd engine.Command) (engine.Reply, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

func (c *recordingCommander) Do(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
	c.mu.Lock()
	c.commands = append(c.commands, cmd)
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		return answer(ctx, cmd)
	}
	if err := engine.Validate(cmd); err != nil {
		return engine.Reply{}, err
	}
	switch cmd := cmd.(type) {
	case *engine.Originate:
		call := exampleCall("call_new", cmd.ProjectID)
		call.To, call.State, call.Direction = cmd.To, engine.CallInitiated, engine.Outbound
		return engine.Reply{Call: &call, CommandID: "cmd_1"}, nil
	case *engine.Inspect:
		if cmd.CallID != "call_live" {
			return engine.Reply{}, engine.Errorf(engine.CodeCallNotFound, "there is no call %q", cmd.CallID)
		}
		call := exampleCall(cmd.CallID, cmd.ProjectID)
		return engine.Reply{Call: &call}, nil
	case *engine.InspectTrail:
		if cmd.CallID != "call_live" {
			return engine.Reply{}, engine.Errorf(engine.CodeCallNotFound, "there is no call %q", cmd.CallID)
		}
		trail := exampleTrail()
		return engine.Reply{Trail: &trail}, nil
	case *engine.OpenConference:
		c := exampleConference(cmd.ProjectID)
		c.Name = cmd.Name
		return engine.Reply{Conference: &c}, nil
	case *engine.InspectConference:
		if cmd.ConferenceID != "conf_live" {
			return engine.Reply{}, engine.Errorf(engine.CodeConferenceNotFound, "there is no conference %q", cmd.ConferenceID)
		}
		c := exampleConference(cmd.ProjectID)
		return engine.Reply{Conference: &c}, nil
	case engine.ConferenceAction:
		h := cmd.Conference()
		if h.ConferenceID != "conf_live" {
			return engine.Reply{}, engine.Errorf(engine.CodeConferenceNotFound, "there is no conference %q", h.ConferenceID)
		}
		c := exampleConference(h.ProjectID)
		return engine.Reply{Conference: &c, CommandID: "cmd_made"}, nil
	case engine.Action:
		h := cmd.Head()
		if h.CallID != "call_live" {
			return engine.Reply{}, engine.Errorf(engine.CodeCallNotFound, "there is no call %q", h.CallID)
		}
		call := exampleCall(h.CallID, h.ProjectID)
		commandID := h.CommandID
		if commandID == "" {
			commandID = "cmd_made"
		}
		return engine.Reply{Call: &call, CommandID: commandID, Replayed: h.CommandID == "seen"}, nil
	}
	return engine.Reply{}, engine.Errorf(engine.CodeUnsupported, "%T", cmd)
}

// last is the newest command.
func (c *recordingCommander) last(t *testing.T) engine.Command {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.commands) == 0 {
		t.Fatal("no command arrived")
	}
	return c.commands[len(c.commands)-1]
}

func (c *recordingCommander) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.commands)
}

// exampleTrail has an entry each half a second from half a second after the hour on.
func exampleTrail() engine.TrailRecord {
	at := func(n int) time.Time { return time.Date(2026, 10, 1, 12, 0, 0, 500_000_000*n, time.UTC) }
	message := &engine.TrailSIP{Transport: "UDP", Remote: "192.0.2.1:5060", Message: "BYE sip:a@b SIP/2.0\r\n\r\n"}
	return engine.TrailRecord{Dropped: 2, Entries: []engine.TrailEntry{
		{At: at(1), Kind: engine.TrailKindSIP, Direction: engine.TrailIn, SIP: message},
		{At: at(1), Kind: engine.TrailKindCommand, Direction: engine.TrailIn, Command: &engine.TrailCommand{Action: "play", Origin: "request"}},
		{At: at(2), Kind: engine.TrailKindSIP, Direction: engine.TrailOut, SIP: message},
		{At: at(3), Kind: engine.TrailKindQuality, Quality: &media.Quality{MOS: 4.4}},
	}}
}

func exampleConference(project string) engine.ConferenceInfo {
	began := time.Date(2026, 10, 1, 12, 0, 1, 0, time.UTC)
	return engine.ConferenceInfo{
		ID: "conf_live", ProjectID: project, Name: "daily", State: engine.ConferenceActive, CreatedAt: began, LastSequence: 2,
		Participants: []engine.ParticipantInfo{{CallID: "call_live", Role: engine.RoleModerator, JoinedAt: began}},
	}
}

func exampleCall(callID, project string) engine.CallInfo {
	answered := time.Date(2026, 10, 1, 12, 0, 1, 0, time.UTC)
	return engine.CallInfo{
		ID: callID, SessionID: "sess_1", ProjectID: project, State: engine.CallAnswered, Direction: engine.Inbound,
		From: "sip:alice@192.0.2.1", To: "sip:demo@192.0.2.2", Node: "n1", CreatedAt: answered.Add(-time.Second),
		AnsweredAt: &answered, LastSequence: 3, Muted: []string{"in"},
	}
}

// fixture is a Server on a real listener with a real store, a recording commander and a client that checks what it gets.
type fixture struct {
	t         testing.TB
	store     session.Store
	log       *session.Log
	keys      *session.Keys
	tokens    *token.Key
	commander *recordingCommander
	server    *api.Server
	listener  *httptest.Server
	url       string
	secret    string // of an admin key of prj_default
	key       session.Key
	logs      *syncBuffer

	mu   sync.Mutex
	seen map[string]bool // operations that gave a 2xx
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newFixture(tb testing.TB, change ...func(*api.Options)) *fixture {
	tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	store, err := session.OpenMemory()
	if err != nil {
		tb.Fatal(err)
	}
	f := &fixture{
		t: tb, store: store, log: session.NewLog(store, session.LogOptions{}), keys: session.NewKeys(ctx, store),
		commander: &recordingCommander{}, seen: map[string]bool{}, logs: &syncBuffer{},
	}
	tb.Cleanup(func() {
		if err := f.log.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		stop()
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	f.key, f.secret = f.newKey("prj_default", session.ScopeAdmin)
	o := api.Options{
		Commander: f.commander, Store: store, Log: f.log, Keys: f.keys, Version: "test", ValidateResponses: true,
		Logger:    slog.New(slog.NewTextHandler(f.logs, nil)),
		Redeliver: func(context.Context, string, string) error { return nil }, Recordings: &cabinet{},
		Diagnose: func(_ context.Context, project, to string, source netip.Addr) engine.Diagnosis {
			return engine.Diagnosis{Rule: engine.RuleNoNumber, Detail: fmt.Sprint(project, " ", to, " ", source)}
		},
		CheckTarget: func(uri string) error {
			if strings.Contains(uri, "@") {
				return errors.New("has a user")
			}
			return nil
		},
		Nodes: func() []api.Node {
			return []api.Node{{Name: "n1", State: api.Active, Version: "test", StartedAt: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)}}
		},
	}
	if f.tokens, err = token.NewKey(make([]byte, token.SeedSize)); err != nil {
		tb.Fatal(err)
	}
	o.Tokens = f.tokens
	for _, c := range change {
		c(&o)
	}
	if f.server, err = api.New(o); err != nil {
		tb.Fatal(err)
	}
	f.listener = httptest.NewUnstartedServer(nil)
	f.listener.Config = f.server.HTTPServer("")
	f.listener.Start()
	tb.Cleanup(f.listener.Close)
	f.url = f.listener.URL
	return f
}

func (f *fixture) newKey(project string, scopes ...session.Scope) (session.Key, string) {
	f.t.Helper()
	key, secret, err := f.keys.Create(context.Background(), project, "test", scopes)
	if err != nil {
		f.t.Fatal(err)
	}
	return key, secret
}

// reply is a response, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the body.
func (r reply) json(tb testing.TB, v any) {
	tb.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		tb.Fatalf("%s: %v", r.body, err)
	}
}

// string is a member of the body.
func (r reply) string(tb testing.TB, name string) string {
	tb.Helper()
	var m map[string]any
	r.json(tb, &m)
	s, _ := m[name].(string)
	return s
}

type option func(*http.Request)

func header(name, value string) option { return func(r *http.Request) { r.Header.Set(name, value) } }
func as(secret string) option          { return header("Authorization", "Bearer "+secret) }

// do sends a request as the admin of prj_default and checks that the response fits the contract.
func (f *fixture) do(method, path, body string, options ...option) reply {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.secret)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		f.t.Fatal(err)
	}
	f.checkContract(req, r)
	return r
}

// ok is do for requests that should succeed: the request is checked against the contract, too.
func (f *fixture) ok(method, path, body string, options ...option) reply {
	f.t.Helper()
	req, _ := http.NewRequest(method, f.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for _, o := range options {
		o(req)
	}
	route, params := f.route(req)
	if route == nil {
		f.t.Fatalf("%s %s is not in the contract", method, path)
	}
	err := openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{
		Request: req, Route: route, PathParams: params,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
	if err != nil {
		f.t.Fatalf("the test's request does not fit the contract: %v", err)
	}
	r := f.do(method, path, body, options...)
	if r.status >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	f.mu.Lock()
	f.seen[route.Operation.OperationID] = true
	f.mu.Unlock()
	return r
}

func (f *fixture) route(req *http.Request) (*routers.Route, map[string]string) {
	f.t.Helper()
	route, params, err := contractRouter(f.t).FindRoute(req)
	if err != nil {
		return nil, nil
	}
	return route, params
}

// checkContract checks a response with a reader of the contract of its own. Answers of the router itself are problems.
func (f *fixture) checkContract(req *http.Request, r reply) {
	f.t.Helper()
	route, params := f.route(req)
	if route == nil {
		if r.status >= 400 && strings.HasPrefix(req.URL.Path, "/v1") && r.header.Get("Content-Type") != "application/problem+json" {
			f.t.Errorf("%s %s: %d as %s", req.Method, req.URL.Path, r.status, r.header.Get("Content-Type"))
		}
		return
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, Route: route, PathParams: params},
		Status:                 r.status, Header: r.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(r.body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		f.t.Errorf("%s %s: the response does not fit the contract: %v\n%s", req.Method, req.URL.Path, err, r.body)
	}
}

var contractRouter = func() func(testing.TB) routers.Router {
	var once sync.Once
	var router routers.Router
	var err error
	return func(tb testing.TB) routers.Router {
		tb.Helper()
		once.Do(func() {
			var doc *openapi3.T
			if doc, err = openapi3.NewLoader().LoadFromFile("../openapi.yaml"); err == nil {
				doc.Servers = nil
				router, err = legacy.NewRouter(doc)
			}
		})
		if err != nil {
			tb.Fatal(err)
		}
		return router
	}
}()

// refused checks that a request is refused with a code, and gives the problem.
func (f *fixture) refused(r reply, status int, code engine.Code) api.Problem {
	f.t.Helper()
	var p api.Problem
	r.json(f.t, &p)
	if r.status != status || p.Code != code || p.Status != status {
		f.t.Fatalf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
	if r.header.Get("Content-Type") != "application/problem+json" || p.RequestID == "" || p.RequestID != r.header.Get("X-Request-Id") {
		f.t.Errorf("%v %s", r.header, r.body)
	}
	return p
}

// publish writes events of a call to the log and waits until they are there.
func (f *fixture) publish(callID, project string, types ...string) {
	f.t.Helper()
	ctx := context.Background()
	before, err := f.store.CallEvents(ctx, project, callID, 0, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	n := uint64(len(before))
	for _, typ := range types {
		n++
		call := exampleCall(callID, project)
		call.LastSequence = n
		if typ == "call.ended" {
			ended := time.Now().UTC()
			call.State, call.EndedAt, call.Hangup = engine.CallEnded, &ended, &engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller}
		}
		f.log.Publish(engine.Event{
			ID: id.New("evt"), Type: typ, Timestamp: time.Now().UTC(), Sequence: n, ProjectID: project, CallID: callID,
			SessionID: "sess_1", ApplicationID: "app_1", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), Call: &engine.CallRecord{Info: call},
		})
	}
	if _, err := f.log.WaitCall(ctx, project, callID, n-1, 1); err != nil {
		f.t.Fatal(err)
	}
}
