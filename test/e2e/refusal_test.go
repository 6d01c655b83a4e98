package e2e

import (
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// The application refuses a call with a status of its choice.
func TestReject(t *testing.T) {
	n, c := steered(t)
	alice := phone.New(t, phone.Options{}).Call(n.URI("desk"), phone.CallOptions{})
	id := incoming(t, c)
	c.Action(id, "reject", map[string]any{"status": 486, "headers": map[string]any{"X-Why": "lunch"}})
	e := alice.WaitEnded()
	if e.Status != 486 || e.Message.Get("X-Why") != "lunch" {
		t.Errorf("refused with %s, X-Why %q", e.Message.Start, e.Message.Get("X-Why"))
	}
	cause(t, c, id, "rejected", "busy")
	if r := c.Try(id, "answer", nil); r.Status != 409 || r.Code() != "call_ended" {
		t.Errorf("answer after the end: %d %s", r.Status, r.Code())
	}
}

// The caller gives up while it rings: the called side is cancelled.
func TestCallerCancels(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	callee := phone.New(t, phone.Options{User: "bob"})
	c := n.Client()
	c.Answering("bob", map[string]any{"instructions": []any{do("bridge", "to", callee.URI())}})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("bob"), phone.CallOptions{})
	bob := callee.Expect()
	bob.Ring()
	alice.WaitEarly(180)
	alice.Hangup()
	if e := alice.WaitEnded(); e.Status != 487 {
		t.Errorf("caller: %+v", e)
	}
	if e := bob.WaitEnded(); e.Method != "CANCEL" {
		t.Errorf("called side: %+v", e)
	}
	cause(t, c, incomingOrNewest(t, c, "bob@"+n.SIP), "cancelled")
}

// Nobody picks up in time; the called side is busy, or not there: the bridge fails with the cause, and the program goes on.
func TestDialledSideFails(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{User: "alice"})
	failed := func(number int) harness.Event {
		t.Helper()
		var found harness.Event
		harness.Eventually(t, "the bridge fails", func() bool {
			i := 0
			for _, e := range c.CallEvents(id, 0, 0) {
				if e.Type == "call.bridge.failed" {
					if i++; i == number {
						found = e
						return true
					}
				}
			}
			return false
		}, nil)
		return found
	}
	ringing := phone.New(t, phone.Options{User: "ringing"})
	c.Action(id, "bridge", map[string]any{"to": ringing.URI(), "ring_timeout_s": 1, "command_id": "b1"})
	r := ringing.Expect()
	r.Ring()
	if e := failed(1); e.Text("cause") != "no_answer" || e.CommandID != "b1" {
		t.Errorf("nobody picked up: %v, command %q", e.Data, e.CommandID)
	}
	if e := r.WaitEnded(); e.Method != "CANCEL" {
		t.Errorf("the ringing phone: %+v", e)
	}
	busy := phone.New(t, phone.Options{User: "busy"})
	c.Action(id, "bridge", map[string]any{"to": busy.URI()})
	busy.Expect().Reject(486, "Busy Here")
	if e := failed(2); e.Text("cause") != "busy" || e.Text("sip_status") != "486" {
		t.Errorf("busy: %v", e.Data)
	}
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
}

// A call that lasts too long is ended; one that rings too long as well.
func TestLimits(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	bob := phone.New(t, phone.Options{User: "bob"})
	id := c.Originate(map[string]any{"from": "sip:x@example.com", "to": bob.URI(), "max_duration_s": 1, "on_idle": "wait"})
	b := bob.Expect()
	b.Answer()
	if e := b.WaitEnded(); e.Method != "BYE" {
		t.Errorf("ended by %+v", e)
	}
	cause(t, c, id, "max_duration")
	id = c.Originate(map[string]any{"from": "sip:x@example.com", "to": bob.URI(), "ring_timeout_s": 1})
	b = bob.Expect()
	b.Ring()
	if e := b.WaitEnded(); e.Method != "CANCEL" {
		t.Errorf("ended by %+v", e)
	}
	cause(t, c, id, "no_answer")
}

// Hanging up an outbound call that has not been answered cancels it.
func TestHangupWhileItRings(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	bob := phone.New(t, phone.Options{User: "bob"})
	id := c.Originate(map[string]any{"from": "sip:x@example.com", "to": bob.URI()})
	b := bob.Expect()
	b.Ring()
	c.WaitEvent(id, "call.ringing")
	c.Action(id, "hangup", nil)
	if e := b.WaitEnded(); e.Method != "CANCEL" {
		t.Errorf("ended by %+v", e)
	}
	cause(t, c, id, "normal", "cancelled")
}
