package e2e

import (
	"strings"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// Stored instructions need no web server; placeholders stand for the call's own.
func TestStaticInstructions(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	bob := phone.New(t, phone.Options{User: "bob"})
	c := n.Client()
	c.Answering("2*", map[string]any{"instructions": []any{
		do("bridge", "to", "sip:{to_user}@"+bob.Addr().String(), "headers", map[string]any{"X-Caller": "{from_user}"}),
	}})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("2001"), phone.CallOptions{})
	b := bob.Expect()
	if u := b.Invite().URI(); !strings.HasPrefix(u, "sip:2001@") || b.Invite().Get("X-Caller") != "alice" {
		t.Errorf("INVITE %s, X-Caller %q", u, b.Invite().Get("X-Caller"))
	}
	if alice.State() == phone.Answered {
		t.Error("the caller was answered before Bob was")
	}
	b.Ring()
	alice.WaitEarly(180)
	b.Answer()
	alice.WaitAnswered()
	talk(t, alice, b)
	relayed(t, alice, b)
	alice.Hangup()
	if e := b.WaitEnded(); e.Method != "BYE" {
		t.Errorf("Bob's side ended by %+v", e)
	}
}

// The longest matching number wins, an exact one before a prefix; a number that nobody has is refused.
func TestNumbers(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	for number, hz := range map[string]string{"+49*": "500", "+4930*": "600", "+49301": "700"} {
		c.Answering(number, map[string]any{"instructions": []any{do("answer"), do("play", "url", "tone:"+hz+"/60000")}})
	}
	for number, hz := range map[string]float64{"+4989": 500, "+49302": 600, "+49301": 700} {
		p := phone.New(t, phone.Options{}).Call(n.URI(number), phone.CallOptions{})
		p.WaitAnswered()
		p.WaitTone(hz)
	}
	if e := phone.New(t, phone.Options{}).Call(n.URI("nobody"), phone.CallOptions{}).WaitEnded(); e.Status != 404 {
		t.Errorf("a number that nobody has: %d", e.Status)
	}
}

// Dev mode answers with no set-up at all.
func TestDemoNumbers(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{Dev: true})
	echo := phone.New(t, phone.Options{}).Call(n.URI("echo"), phone.CallOptions{})
	echo.WaitAnswered()
	echo.Play(phone.Tone(1234))
	echo.WaitTone(1234)
	demo := phone.New(t, phone.Options{Codecs: []string{"PCMA"}}).Call(n.URI("demo"), phone.CallOptions{})
	demo.WaitAnswered()
	harness.Eventually(t, "the greeting is heard", func() bool { return demo.Heard().Level() > -45 }, nil)
	n.Client().WaitEvent(incomingOrNewest(t, n.Client(), "demo"), "call.playback.completed")
	demo.SendKeys("19#")
	harness.Eventually(t, "the digits come back as tones", func() bool {
		h := demo.Heard()
		return h.Has(697, 1209) && h.Has(852, 1477)
	}, nil)
	demo.WaitEnded()
}
