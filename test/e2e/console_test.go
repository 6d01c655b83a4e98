package e2e

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A developer looks at what happened: a call with a webhook, a refused command, a bridge and a recording, while others talk in a
// conference. Every page of the console shows what it has, in light and dark, wide and narrow, without a fault that axe finds,
// an error, or a request to elsewhere. A newcomer's first call works from there, and has a page too.
func TestConsole(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{Env: []string{"TIPRING_NODE=n1"}})
	c := n.Client()
	app := harness.NewApp(t, script(map[string][]harness.Instruction{
		"call.incoming": {do("answer"), do("start_recording"), do("play", "url", "tone:500/60000")},
	}))
	fields := app.Fields()
	fields["name"] = "Support line"
	c.Answering("support", fields)
	c.Answering("echo", map[string]any{"name": "Echo", "instructions": []any{do("answer"), do("echo")}})
	c.Answering("daily", map[string]any{"name": "Daily", "on_idle": "wait", "instructions": []any{do("join", "conference", "daily")}})
	bob := phone.New(t, phone.Options{User: "bob"})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("support"), phone.CallOptions{})
	id := app.WaitEvent("call.incoming", "").CallID
	alice.WaitAnswered()
	alice.WaitTone(500)
	if r := c.Try(id, "bridge", map[string]any{"with": "call_none"}); r.Status == 202 {
		t.Fatal("a bridge with nobody was accepted")
	}
	c.Action(id, "bridge", map[string]any{"to": bob.URI()})
	b := bob.Expect()
	b.Answer()
	b.WaitAnswered()
	talk(t, alice, b)
	alice.SendKeys("42#")
	harness.Eventually(t, "figures of the audio", func() bool { return len(timelineOf(c, id, "quality")) > 3 }, nil)
	c.Action(id, "stop_recording", nil)
	c.WaitEvent(id, "call.recording.saved")
	alice.Hangup()
	b.WaitEnded()
	app.WaitEvent("call.ended", id)
	gathered(t, n, c, "daily", 400, 700)
	trunk(c, map[string]any{"name": "Carrier", "max_calls": 30, "ping_s": -1}, "sip:sbc1.example.com", "sip:sbc2.example.com;transport=tcp")

	tour := harness.Console(t, n, id)
	for _, f := range tour.Faults {
		t.Error(f)
	}
	t.Logf("%d pages; echo: %+v", tour.Pages, tour.Echo)
	if tour.Pages < 80 {
		t.Errorf("only %d pages were seen", tour.Pages)
	}
	e := tour.Echo
	if math.Abs(e.Hz-620) > 20 || !e.Hidden {
		t.Errorf("the softphone hears %.0f Hz; the key is out of the address: %v", e.Hz, e.Hidden)
	}
	for _, kind := range []string{"Browser in", "Browser out", "Event", "Command"} {
		if !slices.Contains(e.Kinds, kind) {
			t.Errorf("the page of the softphone's call shows no %q: %q", kind, e.Kinds)
		}
	}
	if strings.Count(e.Stored, n.Key) != 1 || strings.Count(e.Stored, `["`) != 1 {
		t.Errorf("the page stores more than the key: %s", e.Stored)
	}
}
