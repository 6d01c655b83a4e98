package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A newcomer's first minute: the example page calls echo and hears itself; its keys are gathered.
func TestChromiumCallsEcho(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("echo", map[string]any{"instructions": []any{do("answer"), do("echo")}})
	c.Answering("menu", map[string]any{"on_idle": "wait", "instructions": []any{
		do("answer"), do("gather", "max_digits", 3), do("play", "url", "tone:dtmf/{digits}"),
	}})
	b := harness.NewChromium(t, n)
	b.Do("open", "a", map[string]any{"hz": 620, "identity": "alice"})
	b.Do("dial", "a", map[string]any{"to": "echo"})
	b.WaitState("a", "active")
	b.Hears("a", 620)
	b.Do("shot", "a", map[string]any{"name": "sdk-call"})
	b.Do("press", "a", map[string]any{"button": "hangup"})
	b.WaitState("a", "ended")

	id := b.Do("dial", "a", map[string]any{"to": "menu"})["id"].(string)
	b.WaitState("a", "active")
	b.Do("keys", "a", map[string]any{"digits": "4*7"})
	if e := c.WaitEvent(id, "call.gather.completed"); e.Text("digits") != "4*7" {
		t.Errorf("gathered %v", e.Data)
	}
	if e := b.Do("errors", "a", nil)["errors"].([]any); len(e) > 0 {
		t.Errorf("the page has errors: %v", e)
	}
}

// An application's keys reach the page; on hold the other side hears nothing of it, from the page and from outside; a microphone
// that is not allowed is said in words, and nothing of the call is left; axe finds no fault in the page. From the press to audio
// in both directions takes as long as is told.
func TestChromiumDetails(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("echo", map[string]any{"instructions": []any{do("answer"), do("echo")}})
	b := harness.NewChromium(t, n)
	b.Do("open", "a", map[string]any{"hz": 620, "identity": "alice"})
	if faults, _ := b.Do("axe", "a", nil)["faults"].([]any); len(faults) > 0 {
		t.Errorf("axe: %v", faults)
	}
	bob := phone.New(t, phone.Options{User: "bob"})
	id := b.Do("dial", "a", map[string]any{"to": bob.URI()})["id"].(string)
	call := bob.Expect()
	call.Answer()
	call.Play(phone.Tone(900))
	b.WaitState("a", "active")
	call.WaitTone(620)
	if faults, _ := b.Do("axe", "a", nil)["faults"].([]any); len(faults) > 0 {
		t.Errorf("axe, in a call: %v", faults)
	}
	c.Action(id, "send_dtmf", map[string]any{"digits": "59#"})
	harness.Eventually(t, "the page is told the keys", func() bool { return b.Do("keyed", "a", nil)["digits"] == "59#" }, nil)
	b.Do("press", "a", map[string]any{"button": "hold"})
	call.WaitQuiet()
	b.Do("press", "a", map[string]any{"button": "hold"})
	call.WaitTone(620)
	c.Action(id, "hold", nil)
	b.Silent("a")
	c.Action(id, "unhold", nil)
	b.Hears("a", 900)
	b.Do("press", "a", map[string]any{"button": "hangup"})
	call.WaitEnded()

	b.Do("open", "d", map[string]any{"identity": "dora", "denied": true})
	got := b.Do("fail", "d", map[string]any{"to": "echo"})
	if text, _ := got["text"].(string); got["code"] != "microphone_denied" || !strings.Contains(text, "icrophone") || got["calls"] != 0.0 {
		t.Errorf("without a microphone: %v", got)
	}

	times, _ := b.Do("hasten", "a", map[string]any{"to": "echo", "n": 11})["times"].([]any)
	var ms []float64
	for _, v := range times {
		f, _ := v.(float64)
		ms = append(ms, f)
	}
	slices.Sort(ms)
	t.Logf("from the press to audio that comes back: median %.0f ms of %.0f", ms[len(ms)/2], ms)
}

// A page and a phone: one calls the other, each hears the other's tone, Opus here and G.711 there. The page's socket breaks, and
// the audio goes on; it is loaded again, and the call goes on.
func TestChromiumAndAPhone(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("page", map[string]any{"instructions": []any{do("bridge", "to", "client:alice")}})
	b := harness.NewChromium(t, n)
	b.Do("open", "a", map[string]any{"hz": 620, "identity": "alice"})

	bob := phone.New(t, phone.Options{User: "bob"})
	b.Do("dial", "a", map[string]any{"to": bob.URI()})
	call := bob.Expect()
	call.Ring()
	b.WaitState("a", "ringing")
	call.Answer()
	call.Play(phone.Tone(900))
	b.WaitState("a", "active")
	b.Hears("a", 900)
	call.WaitTone(620)
	b.Do("press", "a", map[string]any{"button": "mute"})
	call.WaitQuiet()
	b.Do("press", "a", map[string]any{"button": "mute"})
	call.WaitTone(620)
	b.Do("cut", "a", nil)
	b.Hears("a", 900)
	harness.Eventually(t, "the page has connected again", func() bool {
		return b.Do("state", "a", nil)["client"] == "ready"
	}, nil)
	call.WaitTone(620)
	b.Do("reload", "a", map[string]any{"identity": "alice"})
	b.Hears("a", 900)
	call.WaitTone(620)
	call.Hangup()
	b.WaitState("a", "ended")

	caller := phone.New(t, phone.Options{User: "carol"}).Call(n.URI("page"), phone.CallOptions{})
	b.WaitState("a", "ringing")
	b.Do("shot", "a", map[string]any{"name": "sdk-incoming"})
	b.Do("accept", "a", nil)
	caller.WaitAnswered()
	caller.Play(phone.Tone(1200))
	b.Hears("a", 1200)
	caller.WaitTone(620)
}

// Two pages of one browser, and two phones with them in a conference.
func TestChromiumPages(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("room", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "daily")}})
	b := harness.NewChromium(t, n)
	b.Do("open", "a", map[string]any{"hz": 620, "identity": "alice"})
	b.Do("open", "b", map[string]any{"hz": 1100, "identity": "bob"})
	b.Do("dial", "a", map[string]any{"to": "client:bob"})
	b.WaitState("b", "ringing")
	b.Do("accept", "b", nil)
	b.Hears("a", 1100)
	b.Hears("b", 620)
	b.Do("press", "b", map[string]any{"button": "hangup"})
	b.WaitState("a", "ended")

	b.Do("dial", "a", map[string]any{"to": "room"})
	b.Do("dial", "b", map[string]any{"to": "conference:daily"})
	b.WaitState("b", "active")
	carol := phone.New(t, phone.Options{User: "carol"}).Call(n.URI("room"), phone.CallOptions{})
	carol.WaitAnswered()
	carol.WaitTone(620, 1100)
	b.Hears("b", 620)
	carol.Play(phone.Tone(400))
	dave := phone.New(t, phone.Options{User: "dave", Codecs: []string{"PCMA"}}).Call(n.URI("room"), phone.CallOptions{})
	dave.WaitAnswered()
	dave.WaitTone(400, 620, 1100)
}
