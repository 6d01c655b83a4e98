package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// connect bridges alice, by number, to bob, by stored instructions.
func connect(t *testing.T, a, b phone.Options) (alice, bob *phone.Call, n *harness.Node) {
	t.Helper()
	n = harness.NewNode(t, harness.NodeOptions{})
	a.User, b.User = "alice", "bob"
	callee := phone.New(t, b)
	n.Client().Answering("bob", map[string]any{"instructions": []any{do("bridge", "to", callee.URI())}})
	alice = phone.New(t, a).Call(n.URI("bob"), phone.CallOptions{})
	bob = callee.Expect()
	bob.Answer()
	alice.WaitAnswered()
	bob.WaitAnswered()
	return alice, bob, n
}

// One side speaks PCMU, the other PCMA: both hear tones at the right level.
func TestTranscoding(t *testing.T) {
	for _, c := range [][2]string{{"PCMU", "PCMA"}, {"PCMA", "PCMU"}} {
		t.Run(c[0]+" to "+c[1], func(t *testing.T) {
			alice, bob, _ := connect(t, phone.Options{Codecs: c[:1]}, phone.Options{Codecs: c[1:]})
			talk(t, alice, bob)
			since := time.Now()
			h := bob.WaitPackets(50, since)
			if l := h.Level(); l < -17 || l > -13 {
				t.Errorf("level %.1f dBFS, want -15", l)
			}
			if h.Missing() != 0 {
				t.Errorf("%d packets missing", h.Missing())
			}
			for _, p := range h.Packets {
				if want := map[string]uint8{"PCMU": 0, "PCMA": 8}[c[1]]; p.PT != want {
					t.Fatalf("payload type %d, want %d", p.PT, want)
				}
			}
		})
	}
}

// Equal codecs are relayed untouched, both ways at once.
func TestRelay(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			alice, bob, _ := connect(t, phone.Options{Codecs: []string{codec}}, phone.Options{Codecs: []string{codec}})
			bob.Play(phone.Numbered())
			relayed(t, alice, bob)
			relayed(t, bob, alice)
		})
	}
}

// A codec that nobody has in common ends with 488.
func TestNoCommonCodec(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	n.Client().Answering("echo", map[string]any{"instructions": []any{do("answer"), do("echo")}})
	p := phone.New(t, phone.Options{Codecs: []string{"L16-nobody"}}).Call(n.URI("echo"), phone.CallOptions{})
	if e := p.WaitEnded(); e.Status != 488 {
		t.Errorf("ended %d", e.Status)
	}
}

// The far end holds: it hears nothing until it takes us back; the events say so. Old hold by 0.0.0.0 counts too.
func TestHeldByTheFarEnd(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
	for direction, want := range map[string]string{"sendonly": "recvonly", "inactive": "inactive"} {
		if got := alice.Hold(direction); got != want {
			t.Errorf("the answer to %s is %s, want %s", direction, got, want)
		}
		since := time.Now().Add(200 * time.Millisecond)
		harness.Eventually(t, "the call is held", func() bool { return c.Call(id).Text("held_by_peer") == "true" }, nil)
		time.Sleep(time.Until(since.Add(500 * time.Millisecond))) // what must not come can only be waited for
		if got := len(alice.HeardSince(since).Packets); got > 0 {
			t.Errorf("%d packets to a phone that holds (%s)", got, direction)
		}
		if got := alice.Unhold(); got != "sendrecv" {
			t.Errorf("the answer to sendrecv is %s", got)
		}
		alice.WaitTone(440)
	}
	held, unheld := 0, 0
	for _, e := range c.CallEvents(id, 0, 0) {
		switch {
		case e.Type == "call.held" && e.Text("by") == "remote":
			held++
		case e.Type == "call.unheld" && e.Text("by") == "remote":
			unheld++
		}
	}
	if held != 2 || unheld != 2 {
		t.Errorf("held %d times, unheld %d times", held, unheld)
	}
}

// We hold the far end, with music, and take it back; a glare (491) is waited out and tried again.
func TestHoldTheFarEnd(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
	alice.RefuseOffers(491)
	c.Action(id, "hold", map[string]any{"music": "tone:300/1000"})
	m := alice.WaitOffer(1) // the one after the 491
	if !strings.Contains(m.Body, "a=sendonly") {
		t.Errorf("the offer is\n%s", m.Body)
	}
	alice.WaitTone(300)
	c.Action(id, "unhold", nil)
	alice.WaitTone(440)
	if r := c.Try(id, "unhold", nil); r.Status != 409 || r.Code() != "invalid_state" {
		t.Errorf("unhold twice: %d %s", r.Status, r.Code())
	}
}

// Early media: the caller hears the called side before it answers, and nothing is lost at the answer.
func TestEarlyMedia(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	callee := phone.New(t, phone.Options{User: "bob"})
	n.Client().Answering("bob", map[string]any{"instructions": []any{do("bridge", "to", callee.URI())}})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("bob"), phone.CallOptions{})
	bob := callee.Expect()
	bob.EarlyMedia()
	bob.Play(phone.Tone(425))
	alice.WaitEarly(183)
	alice.WaitTone(425)
	if alice.State() == phone.Answered {
		t.Error("answered too early")
	}
	bob.Answer()
	alice.WaitAnswered()
	talk(t, alice, bob)
}

// Our own early media: the application lets the caller hear a tone without answering.
func TestOwnEarlyMedia(t *testing.T) {
	n, c := steered(t)
	alice := phone.New(t, phone.Options{}).Call(n.URI("desk"), phone.CallOptions{})
	id := incoming(t, c)
	c.Action(id, "ring", map[string]any{"early_media": true})
	alice.WaitEarly(183)
	c.Action(id, "play", map[string]any{"url": "tone:ringback"})
	alice.WaitTone(425)
	c.Action(id, "answer", nil)
	alice.WaitAnswered()
}

// Alien packets at the media port change nothing.
func TestAlienPackets(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "echo", nil)
	alice.Play(phone.Tone(600))
	alice.WaitTone(600)
	for _, b := range [][]byte{{}, {0}, {0x80}, []byte("INVITE sip:x"), {0x40, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 1500), {0x9f, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}} {
		if err := alice.RTP(b); err != nil {
			t.Logf("sending: %v", err)
		}
	}
	time.Sleep(300 * time.Millisecond) // long enough that only later audio is judged
	alice.WaitTone(600)
}

// A bridged call is held with music: the held side hears the music, the other side silence; then they talk again.
func TestHoldInABridge(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA"} { // relayed, and transcoded
		t.Run(codec, func(t *testing.T) {
			n, c := steered(t)
			alice, id := answered(t, n, c, phone.Options{User: "alice", Codecs: []string{"PCMU"}})
			callee := phone.New(t, phone.Options{User: "bob", Codecs: []string{codec}})
			c.Action(id, "bridge", map[string]any{"to": callee.URI()})
			bob := callee.Expect()
			bob.Answer()
			talk(t, alice, bob)
			c.Action(id, "hold", map[string]any{"music": "tone:300/1000"})
			alice.WaitTone(300)
			bob.WaitQuiet()
			c.Action(id, "unhold", nil)
			talk(t, alice, bob)
		})
	}
}
