package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// incomingOrNewest is the id of the newest call to a number, whatever its state.
func incomingOrNewest(t *testing.T, c *harness.Client, number string) string {
	t.Helper()
	id := ""
	harness.Eventually(t, "a call to "+number+" is listed", func() bool {
		var page struct {
			Data []struct{ ID string } `json:"data"`
		}
		if err := json.Unmarshal(c.Must("GET", "/v1/calls?limit=1&to="+number, nil).Body, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Data) > 0 {
			id = page.Data[0].ID
		}
		return id != ""
	}, nil)
	return id
}

// The web server is down: the fallback URL is asked instead.
func TestFallbackURL(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	dead := harness.NewApp(t, nil)
	spare := harness.NewApp(t, script(map[string][]harness.Instruction{"call.incoming": {do("answer"), do("play", "url", "tone:800/60000")}}))
	fields := dead.Fields()
	fields["webhook_secret"], fields["fallback_url"] = spare.Secret, spare.URL()
	dead.Down()
	n.Client().Answering("shop", fields)
	p := phone.New(t, phone.Options{}).Call(n.URI("shop"), phone.CallOptions{})
	p.WaitAnswered()
	p.WaitTone(800)
	spare.WaitEvent("call.incoming", "")
}

// Whatever the web server does wrong, the stored instructions run, and an event says what happened.
func TestFallbackInstructions(t *testing.T) {
	t.Parallel()
	n := harness.NewNode(t, harness.NodeOptions{Env: []string{"TIPRING_WEBHOOK_TIMEOUT=1s"}})
	c := n.Client()
	for name, h := range map[string]http.HandlerFunc{
		"500":      func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"rubbish":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"unknown":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"instructions":[{"action":"dance"}]}`)) },
		"slow": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(30 * time.Second):
			}
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 4<<20)) },
		"down": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := harness.NewApp(t, nil)
			app.Behave(h)
			if h == nil {
				app.Down()
			}
			fields := app.Fields()
			fields["fallback_instructions"] = []any{do("answer"), do("play", "url", "tone:440/1000"), do("hangup")}
			c.Answering(name, fields)
			p := phone.New(t, phone.Options{}).Call(n.URI(name), phone.CallOptions{})
			p.WaitAnswered()
			p.WaitTone(440)
			p.WaitEnded()
			id := incomingOrNewest(t, c, name)
			if e := c.WaitEvent(id, "call.instructions.failed"); e.Text("fallback") != "true" || e.Text("detail") == "" {
				t.Errorf("call.instructions.failed: %v", e.Data)
			}
		})
	}
}

// Without private addresses allowed, a webhook at one is refused when it is set, and a prompt there fails the play, not
// the call.
func TestPrivateAddresses(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{Env: []string{"TIPRING_ALLOW_PRIVATE_URLS=false"}})
	c := n.Client()
	if r := c.Do("POST", "/v1/applications", map[string]any{"name": "x", "webhook_url": "http://127.0.0.1:1/"}); r.Status != 422 {
		t.Errorf("a private webhook: %d %s", r.Status, r.Body)
	}
	c.Answering("desk", map[string]any{"on_idle": "wait"})
	p, id := answered(t, n, c, phone.Options{})
	if r := c.Try(id, "play", map[string]any{"url": "http://127.0.0.1:1/a.wav"}); r.Status == 202 {
		if e := c.WaitEvent(id, "call.playback.failed"); e.Text("code") == "" {
			t.Errorf("call.playback.failed: %v", e.Data)
		}
	}
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	p.WaitTone(440)
}

// Events that nobody took are delivered after a restart of the program, in order, none missing.
func TestWebhooksSurviveARestart(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	app := harness.NewApp(t, nil)
	app.Behave(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "later", http.StatusServiceUnavailable) })
	c := n.Client()
	fields := app.Fields()
	fields["fallback_instructions"] = []any{do("answer"), do("play", "url", "tone:440/100"), do("hangup")}
	c.Answering("shop", fields)
	p := phone.New(t, phone.Options{}).Call(n.URI("shop"), phone.CallOptions{})
	p.WaitEnded()
	id := incomingOrNewest(t, c, "shop")
	last := c.WaitEvent(id, "call.ended").Sequence
	n.Kill()
	app.Behave(nil)
	before := len(app.Events())
	n.Start()
	app.WaitFor("the end of the call, after the restart", func(e harness.Event) bool { return e.CallID == id && e.Sequence == last })
	seen := map[uint64]bool{}
	for _, e := range app.Events()[before:] {
		seen[e.Sequence] = true
	}
	for i := uint64(2); i <= last; i++ { // the first one asked and was answered by the fallback
		if !seen[i] {
			t.Errorf("event %d of %d was not delivered", i, last)
		}
	}
	app.CheckOrder()
}
