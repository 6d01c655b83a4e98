package e2e

import (
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A caller reaches a voice menu: it answers, plays, takes two digits, and connects him to Bob; when Bob hangs up, the
// menu says goodbye. The application is a web server and nothing else.
func TestWebhookMenu(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	bob := phone.New(t, phone.Options{User: "bob"})
	app := harness.NewApp(t, script(map[string][]harness.Instruction{
		"call.incoming": {
			do("answer"),
			do("play", "url", "tone:500/700"),
			do("gather", "prompt", map[string]any{"url": "tone:440/20000"}, "max_digits", 2),
		},
		"call.gather.completed":       {do("bridge", "to", bob.URI(), "ring_timeout_s", 20)},
		"call.instructions.completed": {do("play", "url", "tone:1000/1500"), do("hangup")}, // the bridge is over
	}))
	n.Client().Answering("menu", app.Fields())

	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("menu"), phone.CallOptions{Headers: []phone.Field{{Name: "X-Customer", Value: "42"}}})
	in := app.WaitEvent("call.incoming", "")
	if in.Text("sip.headers.X-Customer") != "42" || in.Text("direction") != "inbound" {
		t.Errorf("call.incoming: %v", in.Data)
	}
	alice.WaitAnswered()
	alice.WaitTone(500)
	alice.WaitTone(440)
	alice.SendKeys("12")
	if g := app.WaitEvent("call.gather.completed", in.CallID); g.Text("digits") != "12" || g.Text("reason") != "max_digits" {
		t.Errorf("gathered %v", g.Data)
	}
	b := bob.Expect()
	b.Ring()
	b.Answer()
	b.WaitAnswered()
	app.WaitEvent("call.bridged", in.CallID)
	talk(t, alice, b)
	relayed(t, alice, b)
	relayed(t, b, alice)

	b.Hangup()
	alice.WaitTone(1000)
	if e := alice.WaitEnded(); e.Method != "BYE" {
		t.Errorf("the menu ended by %+v", e)
	}
	end := app.WaitEvent("call.ended", in.CallID)
	if end.Text("cause") != "normal" || end.Text("source") != "app" {
		t.Errorf("call.ended: %v", end.Data)
	}
	ordered(t, app.Types(in.CallID), "call.incoming", "call.answered", "call.playback.started", "call.playback.completed",
		"call.dtmf.received", "call.dtmf.received", "call.gather.completed", "call.bridged", "call.unbridged", "call.playback.completed", "call.ended")
	app.CheckOrder()
	if len(app.Events()) != len(app.Headers()) {
		t.Errorf("%d events in %d requests", len(app.Events()), len(app.Headers()))
	}
}

// Keys stop the prompt, the finish key ends the gather and is not part of the digits, and a caller who keys nothing
// is told so.
func TestGatherEndings(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	gather := func(extra ...any) []harness.Instruction {
		return []harness.Instruction{do("answer"), do("gather", append([]any{"prompt", map[string]any{"url": "tone:440/1000", "loop": -1}}, extra...)...)}
	}
	for _, c := range []struct {
		name, digits, reason string
		params               []any
		keys                 func(*phone.Call)
	}{
		{"finish key", "123", "finish_key", []any{"finish_on_key", "*#"}, func(p *phone.Call) { p.WaitTone(440); p.SendKeys("123*") }},
		{"max digits", "99", "max_digits", []any{"max_digits", 2}, func(p *phone.Call) { p.WaitTone(440); p.SendKeys("9"); p.WaitQuiet(); p.SendKeys("9") }},
		{"between digits", "7", "timeout", []any{"inter_digit_timeout_ms", 300}, func(p *phone.Call) { p.WaitTone(440); p.SendKeys("7") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := harness.NewApp(t, script(map[string][]harness.Instruction{"call.incoming": gather(c.params...), "call.gather.completed": {do("hangup")}}))
			n.Client().Answering("gather"+c.digits, app.Fields())
			p := phone.New(t, phone.Options{}).Call(n.URI("gather"+c.digits), phone.CallOptions{})
			p.WaitAnswered()
			c.keys(p)
			e := app.WaitEvent("call.gather.completed", "")
			if e.Text("digits") != c.digits || e.Text("reason") != c.reason {
				t.Errorf("gathered %v", e.Data)
			}
			p.WaitEnded()
		})
	}
	t.Run("nothing", func(t *testing.T) {
		app := harness.NewApp(t, script(map[string][]harness.Instruction{
			"call.incoming": {do("answer"), do("gather", "timeout_ms", 300)}, "call.gather.completed": {do("hangup")},
		}))
		n.Client().Answering("gather0", app.Fields())
		phone.New(t, phone.Options{}).Call(n.URI("gather0"), phone.CallOptions{}).WaitEnded()
		if e := app.WaitEvent("call.gather.completed", ""); e.Text("digits") != "" || e.Text("reason") != "timeout" || e.Text("valid") != "false" {
			t.Errorf("gathered %v", e.Data)
		}
	})
}

// Over TCP it is the same, and the caller may have no offer in his INVITE.
func TestWebhookOverTCPAndOfferless(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	app := harness.NewApp(t, script(map[string][]harness.Instruction{"call.incoming": {do("answer"), do("play", "url", "tone:700/20000")}}))
	n.Client().Answering("tone", app.Fields())
	for _, transport := range []string{"UDP", "TCP"} {
		t.Run(transport, func(t *testing.T) {
			p := phone.New(t, phone.Options{Transport: transport}).Call(n.URI("tone"), phone.CallOptions{NoOffer: transport == "UDP"})
			p.WaitAnswered()
			p.WaitTone(700)
			p.Hangup()
			app.WaitEvent("call.ended", "")
		})
	}
	app.CheckOrder()
}
