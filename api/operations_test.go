package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// TestEveryOperation walks through every operation of the contract as a customer would; requests and responses are
// checked against it on both sides.
func TestEveryOperation(t *testing.T) {
	f := newFixture(t)
	applications(t, f)
	calls(t, f)
	actions(t, f)
	conferences(t, f)
	events(t, f)
	deliveries(t, f)
	keys(t, f)
	tokens(t, f)
	trunks(t, f)
	timeline(t, f)
	if r := f.ok("POST", "/v1/diagnostics/inbound", `{"to":"+4930","source_ip":"192.0.2.1"}`); !strings.Contains(string(r.body), `"detail":"prj_default +4930 192.0.2.1"`) {
		t.Errorf("%s", r.body)
	}
	f.refused(f.do("POST", "/v1/diagnostics/inbound", `{"to":"+4930","source_ip":"x"}`), 422, engine.CodeValidation)
	if r := f.ok("GET", "/v1/nodes", ""); !strings.Contains(string(r.body), `"name":"n1"`) {
		t.Errorf("%s", r.body)
	}
	for path, item := range f.server.Document().Paths.Map() {
		for method, op := range item.Operations() {
			if !f.seen[op.OperationID] && op.OperationID != "openStream" { // stream_test.go
				t.Errorf("%s %s was not tried", method, path)
			}
		}
	}
}

// trunks: a password is kept, and never shown; what nobody can dial through is refused.
func trunks(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/trunks", `{"name":"carrier","targets":[{"uri":"sip:sbc.example.com","priority":1}],"auth":{"username":"u","password":"s3cret"},
		"destinations":["+49*"],"allowed_ips":["192.0.2.0/24"],"max_calls":3}`)
	path := r.header.Get("Location")
	var made api.Trunk
	r.json(t, &made)
	if path != "/v1/trunks/"+made.ID || made.Auth.Username != "u" || made.ProjectID != "prj_default" || strings.Contains(string(r.body), "s3cret") {
		t.Errorf("%s %s", path, r.body)
	}
	kept := func() (v api.Trunk) {
		item, err := f.store.Get(context.Background(), session.KindTrunk, "prj_default", made.ID)
		if err == nil {
			err = json.Unmarshal(item.Value, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	f.ok("PATCH", path, `{"auth":{"username":"v"},"max_calls":null}`)
	if k := kept(); k.Auth.Username != "v" || k.Auth.Password != "s3cret" || k.MaxCalls != 0 || k.Destinations[0] != "+49*" {
		t.Errorf("%+v %+v", k, k.Auth)
	}
	for _, path := range []string{path, "/v1/trunks"} {
		if r := f.ok("GET", path, ""); strings.Contains(string(r.body), "s3cret") || !strings.Contains(string(r.body), made.ID) {
			t.Errorf("%s", r.body)
		}
	}
	for body, pointer := range map[string]string{
		`{"name":"x","targets":[{"uri":"sip:a@b"}],"destinations":["*"]}`:                       "/targets/0/uri",
		`{"name":"x","targets":[],"destinations":["*"]}`:                                        "/targets",
		`{"name":"x","targets":[{"uri":"sip:b"}],"destinations":[]}`:                            "/destinations",
		`{"name":"x","targets":[{"uri":"sip:b"}],"destinations":["*"],"allowed_ips":["x"]}`:     "/allowed_ips/0",
		`{"name":"x","targets":[{"uri":"sip:b"}],"destinations":["*"],"auth":{"username":"u"}}`: "/auth/password",
	} {
		if p := f.refused(f.do("POST", "/v1/trunks", body), 422, engine.CodeValidation); len(p.Errors) == 0 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	f.ok("DELETE", path, "")
	f.refused(f.do("GET", path, ""), 404, engine.CodeNotFound)
}

// timeline joins what the engine noted with the events of the log and the tries of the deliveries, in order and page by page.
func timeline(t *testing.T, f *fixture) {
	t.Helper()
	d := `{"id":"whd_3","event_id":"evt_1","event_type":"call.answered","call_id":"call_live","url":"https://example.com/","state":"delivered",
		"created_at":"2026-10-01T12:00:00Z","updated_at":"2026-10-01T12:00:00Z","attempts":[{"at":"2026-10-01T12:00:00Z","status":500,"latency_ms":12},
		{"at":"2026-10-01T12:00:01Z","status":200,"latency_ms":3,"response":"{}"}]}`
	err := f.store.Put(context.Background(), session.Item{Kind: session.KindDelivery, Project: "prj_default", ID: "whd_3", Value: []byte(d)})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/calls/call_live/timeline"
	var all api.Timeline
	f.ok("GET", path, "").json(t, &all)
	var order []string
	for _, e := range all.Data {
		order = append(order, string(e.Kind))
	}
	if got := strings.Join(order, " "); got != "webhook sip command sip webhook quality event event" || all.HasMore || all.Dropped != 2 {
		t.Errorf("%s %+v", got, all)
	}
	if w := all.Data[4].Webhook; w.Attempt != 2 || *w.Status != 200 || *w.Response != "{}" || w.DeliveryID != "whd_3" || w.LatencyMs != 3 {
		t.Errorf("%+v", w)
	}
	var page api.Timeline
	after, read := "", 0
	for {
		f.ok("GET", path+"?limit=1&after="+after, "").json(t, &page)
		read += len(page.Data)
		after = *page.NextCursor
		if !page.HasMore {
			break
		}
	}
	if read != len(all.Data) { // two entries have the same time
		t.Errorf("%d entries page by page, %d at once", read, len(all.Data))
	}
	f.ok("GET", path+"?after="+after, "").json(t, &page)
	if len(page.Data) != 0 || *page.NextCursor != after {
		t.Errorf("behind the end: %+v", page)
	}
	f.ok("GET", path+"?kind=sip,quality", "").json(t, &page)
	if len(page.Data) != 3 {
		t.Errorf("%d entries of two kinds", len(page.Data))
	}
	f.refused(f.do("GET", path+"?kind=gossip", ""), 400, problem.CodeMalformed)
	f.refused(f.do("GET", path+"?after=x.y", ""), 400, problem.CodeMalformed)
	f.refused(f.do("GET", "/v1/calls/call_none/timeline", ""), 404, engine.CodeCallNotFound)
	_, foreign := f.newKey("prj_other", session.ScopeAdmin)
	f.refused(f.do("GET", "/v1/calls/call_none/timeline", "", as(foreign)), 404, engine.CodeCallNotFound)
}

// tokens makes one for a page, which says what was asked for, and reads the key that it is signed with.
func tokens(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/tokens", `{"identity":"alice","ttl_s":60,"allow_incoming":true,"allow_outgoing":["+49*"]}`)
	var made api.BrowserToken
	r.json(t, &made)
	c, err := f.tokens.Verify(made.Token)
	if err != nil || c.Identity != "alice" || c.ProjectID != "prj_default" || !c.Incoming || !c.MayCall("+4930") || c.MayCall("+1") {
		t.Errorf("%+v %v", c, err)
	}
	if in := time.Until(made.ExpiresAt); in < 50*time.Second || in > time.Minute || !c.ExpiresAt.Equal(made.ExpiresAt) {
		t.Errorf("it expires in %v", in)
	}
	for body, status := range map[string]int{
		`{}`: 422, `{"identity":"a b"}`: 422, `{"identity":"a","ttl_s":5}`: 422, `{"identity":"a","application_id":"app_gone"}`: 422,
	} {
		if r := f.do("POST", "/v1/tokens", body); r.status != status {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	if r := f.do("GET", "/.well-known/jwks.json", ""); r.status != 200 || string(r.body) != string(f.tokens.JWKS()) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func applications(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/applications", `{"name":"hello","webhook_url":"https://example.com/hook",
		"fallback_instructions":[{"action":"play","url":"tone:busy"}],"webhook_events":["call.*"],"on_idle":"wait"}`)
	if r.status != http.StatusCreated {
		t.Fatalf("%d", r.status)
	}
	var app api.Application
	r.json(t, &app)
	if r.header.Get("Location") != "/v1/applications/"+app.ID || app.ProjectID != "prj_default" ||
		!strings.HasPrefix(app.WebhookSecret, "whsec_") || app.CreatedAt == "" {
		t.Errorf("%v %+v", r.header, app)
	}
	if play, ok := app.FallbackInstructions[0].Action.(*engine.Play); !ok || play.URL != "tone:busy" {
		t.Errorf("%+v", app.FallbackInstructions)
	}
	r = f.ok("PATCH", "/v1/applications/"+app.ID, `{"webhook_url":null,"fallback_instructions":null,"instructions":[{"action":"echo"}],"name":"echo"}`)
	var changed api.Application
	r.json(t, &changed)
	if changed.WebhookURL != "" || changed.Name != "echo" || len(changed.Instructions) != 1 || len(changed.FallbackInstructions) != 0 ||
		changed.WebhookSecret != app.WebhookSecret || changed.OnIdle != engine.IdleWait || changed.CreatedAt != app.CreatedAt {
		t.Errorf("%s", r.body)
	}
	if got := f.ok("GET", "/v1/applications/"+app.ID, ""); string(got.body) != string(r.body) {
		t.Errorf("%s is not %s", got.body, r.body)
	}
	if r := f.ok("GET", "/v1/applications", ""); !strings.Contains(string(r.body), app.ID) {
		t.Errorf("%s", r.body)
	}
	number := f.ok("POST", "/v1/numbers", `{"number":"+4930*","application_id":"`+app.ID+`"}`)
	path := number.header.Get("Location")
	f.ok("GET", path, "")
	f.ok("PATCH", path, `{"number":"+4940*"}`)
	f.ok("GET", "/v1/numbers?application_id="+app.ID, "")
	p := f.refused(f.do("DELETE", "/v1/applications/"+app.ID, ""), 409, engine.CodeConflict)
	if !strings.Contains(p.Detail, "+4940*") {
		t.Errorf("%q does not name the number", p.Detail)
	}
	f.ok("DELETE", path, "")
	f.ok("DELETE", "/v1/applications/"+app.ID, "")
	f.refused(f.do("GET", "/v1/applications/"+app.ID, ""), 404, engine.CodeNotFound)
	f.refused(f.do("GET", path, ""), 404, engine.CodeNotFound)
}

func calls(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/calls", `{"from":"+4930123","to":"sip:bob@192.0.2.20","instructions":[{"action":"play","url":"tone:440/1000"},
		{"action":"hangup"}],"headers":{"X-Order":"7"},"client_state":"s","ring_timeout_s":20}`)
	cmd, ok := f.commander.last(t).(*engine.Originate)
	if !ok || cmd.ProjectID != "prj_default" || cmd.Headers["X-Order"] != "7" || len(cmd.Instructions) != 2 || cmd.RingTimeoutS != 20 {
		t.Errorf("%+v", f.commander.last(t))
	}
	if r.status != 201 || r.header.Get("Location") != "/v1/calls/call_new" {
		t.Errorf("%d %v", r.status, r.header)
	}
	f.ok("GET", "/v1/calls/call_live", "")
	f.publish("call_over", "prj_default", "call.incoming", "call.answered", "call.ended")
	r = f.ok("GET", "/v1/calls/call_over", "")
	var call api.Call
	r.json(t, &call)
	if call.State != engine.CallEnded || call.Hangup == nil || call.Hangup.Reason != engine.ReasonNormal {
		t.Errorf("%s", r.body)
	}
	r = f.ok("GET", "/v1/calls?state=ended&direction=inbound&from=alice&to=demo&session_id=sess_1&created_after=2020-01-01T00:00:00Z&limit=5", "")
	var list api.CallList
	r.json(t, &list)
	if len(list.Data) != 1 || list.Data[0].ID != "call_over" || list.HasMore {
		t.Errorf("%s", r.body)
	}
	if r := f.ok("GET", "/v1/calls?state=ringing", ""); string(r.body) != `{"data":[],"has_more":false}`+"\n" {
		t.Errorf("%s", r.body)
	}
}

func actions(t *testing.T, f *fixture) {
	t.Helper()
	bodies := map[string]string{
		"answer": ``, "ring": `{"early_media":true}`, "reject": `{"status":486,"reason":"Busy"}`, "hangup": `{"cause":"busy"}`,
		"play":     `{"url":"tone:440/1000","loop":-1}`,
		"gather":   `{"prompt":{"url":"file:menu.wav"},"max_digits":4,"finish_on_key":"#","timeout_ms":5000,"inter_digit_timeout_ms":1000}`,
		"bridge":   `{"to":"sip:bob@192.0.2.20","ring_timeout_s":30,"auth":{"username":"u","password":"p"},"on_peer_hangup":"continue"}`,
		"unbridge": `{}`, "hold": `{"music":"file:m.wav"}`, "unhold": ``, "mute": `{"direction":"both"}`, "unmute": `{}`,
		"pause_playback": ``, "resume_playback": `{}`, "seek_playback": `{"position_ms":100,"volume_db":-6}`,
		"join": `{"conference":"daily","role":"coach","coach":["call_x"],"settings":{"music":"file:m.wav","max_participants":5}}`, "leave": ``,
		"start_recording": `{"format":"ogg","tracks":"in","max_duration_s":60,"trim_silence":true}`, "stop_recording": ``,
		"pause_recording": `{"fill":"cut"}`, "resume_recording": ``,
		"send_dtmf": `{"digits":"1w2#"}`, "echo": `{"duration_ms":5}`, "wait": `{"duration_ms":5}`, "stop": `{"all":true}`,
		"run": `{"instructions":[{"action":"answer"},{"action":"gather","prompt":{"url":"tone:dial"},"max_digits":1}],"mode":"append"}`,
	}
	for name, body := range bodies {
		r := f.ok("POST", "/v1/calls/call_live/actions/"+name, body)
		var got api.Accepted
		r.json(t, &got)
		cmd, ok := f.commander.last(t).(engine.Action)
		if !ok || cmd.Name() != name || cmd.Head().CallID != "call_live" || cmd.Head().ProjectID != "prj_default" {
			t.Errorf("%s arrived as %#v", name, f.commander.last(t))
			continue
		}
		if r.status != 202 || got.CommandID != "cmd_made" || got.CallID != "call_live" || got.Status != "accepted" || got.Call == nil {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		want, err := engine.DecodeAction(name, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		want.Head().CallID, want.Head().ProjectID = "call_live", "prj_default"
		if a, b := encode(t, cmd), encode(t, want); a != b {
			t.Errorf("%s arrived as %s, want %s", name, a, b)
		}
	}
	r := f.ok("POST", "/v1/calls/call_live/actions/stop", `{"command_id":"seen"}`)
	if r.header.Get("Idempotent-Replayed") != "true" || r.string(t, "command_id") != "seen" {
		t.Errorf("%v %s", r.header, r.body)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func events(t *testing.T, f *fixture) {
	t.Helper()
	f.publish("call_live", "prj_default", "call.incoming", "call.answered")
	r := f.ok("GET", "/v1/calls/call_live/events?after=1&wait_s=1", "")
	var list api.EventList
	r.json(t, &list)
	if len(list.Data) != 1 || list.Data[0].Type != "call.answered" || list.NextCursor != "2" {
		t.Errorf("%s", r.body)
	}
	f.ok("GET", "/v1/events?types=call.*&limit=3", "")
}

func deliveries(t *testing.T, f *fixture) {
	t.Helper()
	d := `{"id":"whd_1","event_id":"evt_1","event_type":"call.answered","call_id":"call_1","url":"https://example.com/",
		"state":"failed","created_at":"2026-10-01T12:00:00Z","updated_at":"2026-10-01T12:00:00Z","endpoint":{},"sequence":3,"attempts":[{"at":"2026-10-01T12:00:00Z","status":500,"latency_ms":12,"response":"no"}]}`
	err := f.store.Put(context.Background(), session.Item{Kind: session.KindDelivery, Project: "prj_default", ID: "whd_1", Value: []byte(d)},
		session.Item{Kind: session.KindDelivery, Project: "prj_default", ID: "whd_2", Value: []byte(strings.ReplaceAll(d, "failed", "delivered"))})
	if err != nil {
		t.Fatal(err)
	}
	r := f.ok("GET", "/v1/webhook_deliveries?state=failed&call_id=call_1&event_id=evt_1", "")
	var list api.WebhookDeliveryList
	r.json(t, &list)
	if len(list.Data) != 1 || list.Data[0].Attempts[0].LatencyMs != 12 || strings.Contains(string(r.body), "endpoint") {
		t.Errorf("%s", r.body)
	}
	f.ok("GET", "/v1/webhook_deliveries/whd_1", "")
	if r := f.ok("POST", "/v1/webhook_deliveries/whd_1/redeliver", ""); r.status != 202 {
		t.Errorf("%d", r.status)
	}
	f.refused(f.do("GET", "/v1/webhook_deliveries/whd_9", ""), 404, engine.CodeNotFound)
}

func keys(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/keys", `{"name":"reader","scopes":["calls:read"]}`)
	var made api.CreatedKey
	r.json(t, &made)
	path := "/v1/keys/" + made.Key.ID
	if r.status != 201 || r.header.Get("Location") != path || !strings.HasPrefix(made.Secret, "tpk_") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	f.ok("GET", "/v1/calls", "", as(made.Secret))
	r = f.ok("GET", "/v1/whoami", "", as(made.Secret))
	var me api.Whoami
	r.json(t, &me)
	if me.Key.ID != made.Key.ID || me.ProjectID != "prj_default" || me.Version != "test" || !slices.Equal(me.Key.Scopes, made.Key.Scopes) {
		t.Errorf("%s", r.body)
	}
	for _, r := range []reply{f.ok("GET", path, ""), f.ok("GET", "/v1/keys", "")} {
		if !strings.Contains(string(r.body), made.Key.ID) || strings.Contains(string(r.body), made.Secret) {
			t.Errorf("%s", r.body)
		}
	}
	f.refused(f.do("DELETE", "/v1/keys/"+f.key.ID, ""), 409, engine.CodeConflict)
	f.ok("DELETE", path, "")
	deadline := time.Now().Add(10 * time.Second) // until the revocation has reached the cache
	for f.do("GET", "/v1/calls", "", as(made.Secret)).status != 401 {
		if time.Now().After(deadline) {
			t.Fatal("a revoked key is still taken")
		}
	}
	f.refused(f.do("GET", path, ""), 404, engine.CodeNotFound)
}
