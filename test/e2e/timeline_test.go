package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A developer wants to know why a call went as it did: its timeline has what the caller sent, what the application was told and
// answered, what was commanded and refused, how the audio was, and no password; live, and when the call is over.
func TestTimelineTellsACall(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	app := harness.NewApp(t, script(map[string][]harness.Instruction{
		"call.incoming": {do("answer"), do("play", "url", "tone:500/60000")},
	}))
	c := n.Client()
	c.Answering("menu", app.Fields())
	bob := phone.New(t, phone.Options{User: "bob", Challenge: &phone.Challenge{Realm: "trunk", Username: "u", Password: "s3cret", Algorithm: "MD5"}})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("menu"), phone.CallOptions{})
	in := app.WaitEvent("call.incoming", "")
	alice.WaitAnswered()
	alice.WaitTone(500)
	if r := c.Try(in.CallID, "bridge", map[string]any{"with": "call_none"}); r.Status == 202 {
		t.Fatal("a bridge with nobody was accepted")
	}
	c.Action(in.CallID, "bridge", map[string]any{
		"to": bob.URI(), "command_id": "connect", "auth": map[string]any{"username": "u", "password": "s3cret"},
	})
	b := bob.Expect()
	b.Answer()
	b.WaitAnswered()
	other := app.WaitEvent("call.bridged", in.CallID).Text("with")
	harness.Eventually(t, "figures of the audio", func() bool { return len(timelineOf(c, in.CallID, "quality")) > 1 }, nil)
	if live := timelineOf(c, in.CallID, ""); !has(live, "sip in INVITE") {
		t.Errorf("while the call lives: %q", live)
	}
	alice.Hangup()
	b.WaitEnded()
	app.WaitEvent("call.ended", in.CallID)

	check := func(when string) {
		t.Helper()
		inOrder(t, when, timelineOf(c, in.CallID, ""),
			"sip in INVITE", "event call.incoming", "webhook call.incoming 200", "command instructions answer", "sip out 200 INVITE", "sip in ACK",
			"event call.answered", "command instructions play", "command request bridge refused", "command request bridge connect",
			"event call.bridged", "sip in BYE", "sip out 200 BYE", "event call.ended")
		inOrder(t, when, timelineOf(c, other, ""),
			"sip out INVITE", "sip in 407 INVITE", "sip out ACK", "sip out INVITE", "sip in 200 INVITE", "sip out ACK",
			"event call.ended")
		inOrder(t, when, timelineOf(c, other, ""), "sip out BYE", "sip in 200 BYE") // it may come before the end is told, or behind
	}
	harness.Eventually(t, "the end of the other call", func() bool { return has(timelineOf(c, other, ""), "sip in 200 BYE") }, nil)
	harness.Eventually(t, "the last webhook", func() bool { return has(timelineOf(c, in.CallID, ""), "webhook call.ended 200") }, nil)
	check("when the call is over")
	n.Stop()
	n.Start()
	check("when the node was started again")
	for _, id := range []string{in.CallID, other} {
		r := c.Must("GET", "/v1/calls/"+id+"/timeline?limit=1000", nil)
		if strings.Contains(string(r.Body), "s3cret") || strings.Contains(string(r.Body), digestOf(bob)) {
			t.Error("the timeline has a password, or its digest")
		}
	}
}

// digestOf is the response to the challenge that a phone got.
func digestOf(p *phone.Phone) string {
	m := p.WaitMessage("credentials", func(m phone.Message) bool { return m.Get("Proxy-Authorization") != "" })
	_, rest, _ := strings.Cut(m.Get("Proxy-Authorization"), `response="`)
	digest, _, _ := strings.Cut(rest, `"`)
	return digest
}

// timelineOf are the entries of a call's timeline of a kind, or all, in few words.
func timelineOf(c *harness.Client, callID, kind string) (out []string) {
	path := "/v1/calls/" + callID + "/timeline?limit=1000"
	if kind != "" {
		path += "&kind=" + kind
	}
	list, _ := c.Must("GET", path, nil).Object()["data"].([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		e := harness.Event{Data: m}
		switch kind := e.Text("kind"); kind {
		case "sip":
			first, _, _ := strings.Cut(e.Text("sip.message"), "\r\n")
			words := strings.Fields(first)
			what := words[0]
			if what == "SIP/2.0" {
				what = words[1] + " " + methodOf(e.Text("sip.message"))
			}
			out = append(out, "sip "+e.Text("direction")+" "+what)
		case "command":
			line := fmt.Sprintf("command %s %s %s", e.Text("command.origin"), e.Text("command.action"), e.Text("command.command_id"))
			if e.Text("command.error") != "" {
				line = fmt.Sprintf("command %s %s refused", e.Text("command.origin"), e.Text("command.action"))
			}
			out = append(out, line)
		case "event":
			out = append(out, "event "+e.Text("event.type"))
		case "webhook":
			out = append(out, "webhook "+e.Text("webhook.event_type")+" "+e.Text("webhook.status"))
		default:
			out = append(out, kind)
		}
	}
	return out
}

func methodOf(message string) string {
	_, rest, _ := strings.Cut(message, "CSeq: ")
	line, _, _ := strings.Cut(rest, "\r\n")
	_, method, _ := strings.Cut(line, " ")
	return method
}

func has(list []string, entry string) bool {
	for _, e := range list {
		if strings.HasPrefix(e, entry) {
			return true
		}
	}
	return false
}

// inOrder checks that a list has the entries, or what begins with them, in that order.
func inOrder(t *testing.T, when string, list []string, entries ...string) {
	t.Helper()
	rest := list
	for _, want := range entries {
		for len(rest) > 0 && !strings.HasPrefix(rest[0], want) {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			t.Errorf("%s: no %q at its place in\n  %s", when, want, strings.Join(list, "\n  "))
			return
		}
		rest = rest[1:]
	}
}
