package e2e

import (
	"net/http"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// The same by WebSocket: events come down, commands go up, replies name their command.
func TestStreamSteersACall(t *testing.T) {
	n, _ := steered(t)
	s := n.Stream()
	s.Subscribe(map[string]any{"types": []string{"call.*"}})
	bob := phone.New(t, phone.Options{User: "bob"})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("desk"), phone.CallOptions{})
	id := s.WaitEvent("call.incoming", "").CallID

	s.Must(id, "answer", nil)
	alice.WaitAnswered()
	s.WaitEvent("call.answered", id)
	s.Must(id, "gather", map[string]any{"prompt": map[string]any{"url": "tone:440/60000"}, "max_digits": 2})
	alice.WaitTone(440)
	alice.SendKeys("42")
	if e := s.WaitEvent("call.gather.completed", id); e.Text("digits") != "42" {
		t.Errorf("gathered %v", e.Data)
	}
	out := s.Must("", "originate", map[string]any{"from": "sip:x@example.com", "to": bob.URI()})
	to, _ := out.Call["id"].(string)
	b := bob.Expect()
	b.Answer()
	s.WaitEvent("call.answered", to)
	s.Must(id, "bridge", map[string]any{"with": to})
	talk(t, alice, b)
	relayed(t, alice, b)

	if f := s.Command("call_00000000000000000000000000", "play", map[string]any{"url": "tone:busy"}); f.Error["code"] != "call_not_found" {
		t.Errorf("a command to no call: %+v", f)
	}
	if f := s.Command(id, "play", map[string]any{"url": "tone:busy", "volume": 11}); f.Error["code"] != "validation_failed" {
		t.Errorf("an unknown parameter: %+v", f)
	}
	s.Must(id, "hangup", nil)
	alice.WaitEnded()
	s.WaitEvent("call.ended", id)
	s.CheckOrder()
}

// A client that was away asks for what it missed, by cursor.
func TestStreamResumes(t *testing.T) {
	n, c := steered(t)
	s := n.Stream()
	s.Subscribe(map[string]any{"types": []string{"call.*"}})
	alice, id := answered(t, n, c, phone.Options{})
	s.WaitEvent("call.answered", id)
	frames := s.Frames()
	cursor := ""
	for _, f := range frames {
		if f.Event != nil {
			cursor = f.Cursor
		}
	}
	seen := len(s.Of(id))
	s.Close()
	alice.SendKeys("1")
	alice.Hangup()
	c.WaitEvent(id, "call.ended")

	again := n.Stream()
	again.Subscribe(map[string]any{"types": []string{"call.*"}, "after": cursor})
	again.WaitEvent("call.ended", id)
	events := again.Of(id)
	if len(events) == 0 || events[0].Sequence != uint64(seen)+1 {
		t.Errorf("after %d events the stream goes on with %+v", seen, events)
	}
	ordered(t, again.Types(id), "call.dtmf.received", "call.ended")
}

// Strangers are refused; rubbish is answered and ends nothing.
func TestStreamBadInput(t *testing.T) {
	n, _ := steered(t)
	if _, res, err := n.TryStream("tpk_wrong0123456789abcdefghijklmnopqrstuv"); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong key: %v %v", res, err)
	}
	s := n.Stream()
	for _, bad := range []string{"{", "[]", `{"type":"dance"}`, `{"type":"command"}`, `{"type":"command","call_id":"call_x","action":"fly"}`, `"x"`} {
		before := len(s.Frames())
		s.Send(bad)
		harness.Eventually(t, "an answer to "+bad, func() bool {
			for _, f := range s.Frames()[before:] {
				if f.Error != nil {
					return true
				}
			}
			return false
		}, nil)
	}
	s.Subscribe(nil)
	s.Send(map[string]any{"type": "ping"})
	s.WaitFrame("pong", func(f harness.Frame) bool { return f.Type == "pong" })
}

// An application with a wss:// URL: Tipring dials, the application answers what asks and commands what it likes.
func TestStreamApplication(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	app := harness.NewStreamApp(t, func(s *harness.Stream, f harness.Frame) {
		if f.Event == nil {
			return
		}
		switch f.Event.Type {
		case "call.incoming":
			if !f.Request { // told again after the connection broke: nobody waits for an answer
				return
			}
			s.Instruct(*f.Event, do("answer"), do("gather", "prompt", map[string]any{"url": "tone:440/60000"}, "max_digits", 1))
		case "call.gather.completed":
			s.Send(map[string]any{"type": "command", "call_id": f.Event.CallID, "command_id": "c1", "action": "play", "url": "tone:900/60000"})
		}
	})
	c := n.Client()
	c.Answering("bot", map[string]any{"webhook_url": app.URL()})
	alice := phone.New(t, phone.Options{}).Call(n.URI("bot"), phone.CallOptions{})
	alice.WaitAnswered()
	alice.WaitTone(440)
	alice.SendKeys("8")
	alice.WaitTone(900)
	id := app.WaitEvent("call.gather.completed", "").CallID

	// The connection breaks; events go on being delivered, none lost, none out of order.
	before := app.Connections()
	app.Drop()
	alice.SendKeys("123")
	harness.Eventually(t, "Tipring connects again", func() bool { return app.Connections() > before }, nil)
	alice.Hangup()
	app.WaitEvent("call.ended", id)
	app.CheckOrder()
}
