package e2e

import (
	"encoding/json"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A web developer steers a call by REST alone: nothing listens for webhooks.
func TestRESTSteersACall(t *testing.T) {
	n, c := steered(t)
	bob := phone.New(t, phone.Options{User: "bob"})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("desk"), phone.CallOptions{})
	id := incoming(t, c)

	c.Action(id, "ring", nil)
	alice.WaitEarly(180)
	c.Action(id, "answer", map[string]any{"command_id": "pick-up"})
	alice.WaitAnswered()
	if e := c.WaitEvent(id, "call.answered"); e.CommandID != "pick-up" {
		t.Errorf("call.answered carries command_id %q", e.CommandID)
	}
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
	c.Action(id, "gather", map[string]any{"max_digits": 3}) // replaces the tone
	alice.WaitQuiet()
	alice.SendKeys("4#")
	if e := c.WaitEvent(id, "call.gather.completed"); e.Text("digits") != "4" {
		t.Errorf("gathered %v", e.Data)
	}
	if got := c.Call(id); got.Text("state") != "answered" || got.Text("media.codec") != "PCMU/8000" {
		t.Errorf("the call: %s", got.Body)
	}

	to := c.Originate(map[string]any{"from": "sip:desk@example.com", "to": bob.URI(), "headers": map[string]any{"X-Ticket": "7"}, "client_state": "second leg", "on_idle": "wait"})
	b := bob.Expect()
	if b.Invite().Get("X-Ticket") != "7" {
		t.Errorf("INVITE without the custom header: %v", b.Invite())
	}
	b.Ring()
	c.WaitEvent(to, "call.ringing")
	b.Answer()
	b.WaitAnswered()
	if e := c.WaitEvent(to, "call.answered"); e.ClientState != "second leg" {
		t.Errorf("client_state %q", e.ClientState)
	}
	c.Action(id, "bridge", map[string]any{"with": to})
	c.WaitEvent(id, "call.bridged")
	talk(t, alice, b)
	if got := c.Call(id).Text("bridged_with"); got != to {
		t.Errorf("bridged with %q, want %q", got, to)
	}
	c.Action(id, "unbridge", nil)
	c.WaitEvent(to, "call.unbridged")
	alice.WaitQuiet()
	b.WaitQuiet()
	c.Action(to, "play", map[string]any{"url": "tone:800/60000"}) // both go on
	b.WaitTone(800)
	c.Action(id, "bridge", map[string]any{"with": to})
	talk(t, alice, b)
	relayed(t, b, alice)

	c.Action(to, "hangup", map[string]any{"command_id": "bye"})
	b.WaitEnded()
	if e := cause(t, c, to, "normal"); e.CommandID != "bye" {
		t.Errorf("call.ended carries command_id %q", e.CommandID)
	}
	alice.WaitEnded() // a bridged call without a program ends with its other side
	cause(t, c, id, "normal")
}

// With on_peer_hangup continue, the call goes on when its other side leaves.
func TestPeerHangupContinue(t *testing.T) {
	n, c := steered(t)
	bob := phone.New(t, phone.Options{User: "bob"})
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "bridge", map[string]any{"to": bob.URI(), "on_peer_hangup": "continue"})
	b := bob.Expect()
	b.Answer()
	talk(t, alice, b)
	b.Hangup()
	c.WaitEvent(id, "call.unbridged")
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
}

// A program made of a list: POST …/actions/run replaces what runs, append adds to it, stop ends it.
func TestRESTRunsAList(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "run", map[string]any{"instructions": []any{do("play", "url", "tone:440/60000"), do("play", "url", "tone:999/60000")}})
	alice.WaitTone(440)
	c.Action(id, "stop", nil) // the next one follows
	alice.WaitTone(999)
	c.Action(id, "run", map[string]any{"instructions": []any{do("play", "url", "tone:700/60000")}, "mode": "append"})
	c.Action(id, "stop", nil)
	alice.WaitTone(700)
	c.Action(id, "run", map[string]any{"instructions": []any{do("play", "url", "tone:440/300"), do("hangup")}})
	alice.WaitEnded()
	cause(t, c, id, "normal")
}

// mute, unmute, echo and wait.
func TestRESTMuteAndEcho(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	alice.Play(phone.Tone(650))
	c.Action(id, "echo", nil)
	alice.WaitTone(650)
	c.Action(id, "mute", nil)
	alice.WaitQuiet()
	c.WaitEvent(id, "call.muted")
	c.Action(id, "unmute", nil)
	alice.WaitTone(650)
	c.Action(id, "mute", map[string]any{"direction": "out"})
	alice.WaitQuiet()
	c.Action(id, "unmute", map[string]any{"direction": "out"})
	alice.WaitTone(650)
}

// An application's program for an outbound call: instructions run when it is answered; then the call ends.
func TestOutboundWithInstructions(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	bob := phone.New(t, phone.Options{User: "bob"})
	id := c.Originate(map[string]any{"from": "sip:shop@example.com", "to": bob.URI(), "instructions": []any{
		do("gather", "prompt", map[string]any{"url": "tone:440/60000"}, "max_digits", 1), do("play", "url", "tone:dtmf/{digits}"),
	}})
	b := bob.Expect()
	b.Answer()
	b.WaitTone(440)
	b.SendKeys("5")
	b.WaitEnded()
	if !b.Heard().Has(770, 1336) { // the digit's two tones
		t.Error("the digit was not played back")
	}
	cause(t, c, id, "instructions_completed")
}

// A digest challenge is answered with the credentials of the request, and with wrong ones the call fails as forbidden.
func TestOutboundDigest(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	for _, alg := range []string{"MD5", "SHA-256"} {
		bob := phone.New(t, phone.Options{User: "bob", Challenge: &phone.Challenge{Realm: "trunk", Username: "u", Password: "secret", Algorithm: alg}})
		id := c.Originate(map[string]any{"from": "sip:x@example.com", "to": bob.URI(), "auth": map[string]any{"username": "u", "password": "secret"}})
		b := bob.Expect()
		b.Answer()
		b.WaitAnswered()
		c.WaitEvent(id, "call.answered")
		id = c.Originate(map[string]any{"from": "sip:x@example.com", "to": bob.URI(), "auth": map[string]any{"username": "u", "password": "wrong"}})
		cause(t, c, id, "forbidden")
	}
}

// The list of calls pages and filters.
func TestListOfCalls(t *testing.T) {
	n, c := steered(t)
	_, first := answered(t, n, c, phone.Options{})
	_, second := answered(t, n, c, phone.Options{})
	c.Action(first, "hangup", nil)
	c.WaitEvent(first, "call.ended")
	list := func(query string) (ids []string, next string) {
		var page struct {
			Data       []struct{ ID string } `json:"data"`
			NextCursor string                `json:"next_cursor"`
		}
		if err := json.Unmarshal(c.Must("GET", "/v1/calls?"+query, nil).Body, &page); err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Data {
			ids = append(ids, d.ID)
		}
		return ids, page.NextCursor
	}
	one, next := list("limit=1")
	two, _ := list("limit=1&after=" + next)
	if len(one) != 1 || one[0] != second || len(two) != 1 || two[0] != first {
		t.Errorf("pages %v %v, want newest first: %s %s", one, two, second, first)
	}
	if ended, _ := list("state=ended"); len(ended) != 1 || ended[0] != first {
		t.Errorf("ended: %v", ended)
	}
	if up, _ := list("state=answered"); len(up) != 1 || up[0] != second {
		t.Errorf("answered: %v", up)
	}
}
