package interop

import (
	"os"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// SIPp calls; each scenario judges the SIP that it gets, and we judge what Tipring made of it.
func TestSIPpCalls(t *testing.T) {
	need(t, "sipp", "sip-tester")
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("wait", map[string]any{"instructions": []any{do("answer"), do("wait", "duration_ms", 60000)}})
	c.Answering("ring", map[string]any{"instructions": []any{do("ring")}, "on_idle": "wait"})
	c.Answering("busy", map[string]any{"instructions": []any{do("reject", "status", 486)}})
	for _, s := range []struct {
		scenario, number string
		root             bool
		check            func(t *testing.T, id string, end harness.Event)
	}{
		{"uac_cancel", "ring", false, func(t *testing.T, _ string, e harness.Event) { want(t, e, "cause", "cancelled") }},
		{"uac_rejected", "busy", false, func(t *testing.T, _ string, e harness.Event) { want(t, e, "cause", "rejected") }},
		{"uac_hold", "wait", false, func(t *testing.T, id string, _ harness.Event) {
			c.WaitEvent(id, "call.held")
			c.WaitEvent(id, "call.unheld")
		}},
		{"uac_offerless", "wait", false, nil},
		{"uac_timer", "wait", false, nil},
		{"uac_timer_small", "", false, nil},
		{"uac_info", "wait", false, func(t *testing.T, id string, _ harness.Event) {
			if d := digits(c, id); d != "42#" {
				t.Errorf("digits %q", d)
			}
		}},
		{"uac_keys", "wait", true, func(t *testing.T, id string, _ harness.Event) {
			if d := digits(c, id); d != "12" {
				t.Errorf("digits %q", d)
			}
		}},
		{"uac_options", "", false, nil},
		{"uac_bye_reason", "wait", false, func(t *testing.T, _ string, e harness.Event) { want(t, e, "q850", "31") }},
	} {
		t.Run(s.scenario, func(t *testing.T) {
			if s.root && os.Getuid() != 0 {
				t.Skip("SIPp sends recorded packets from raw sockets: root only")
			}
			number := s.number
			if number == "" {
				number = "wait"
			}
			startSIPp(t, s.scenario, "-s", number, n.SIP).wait()
			if s.number == "" || t.Failed() {
				return
			}
			id, end := ended(t, c, s.number)
			if s.check != nil {
				s.check(t, id, end)
			}
		})
	}
}

func want(t *testing.T, e harness.Event, path, text string) {
	t.Helper()
	if e.Text(path) != text {
		t.Errorf("%s of %s is %q, want %q: %v", path, e.Type, e.Text(path), text, e.Data)
	}
}

// SIPp speaks a tone; a phone that it is connected to hears it.
func TestSIPpIsHeard(t *testing.T) {
	need(t, "sipp", "sip-tester")
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	for _, codec := range []string{"PCMU", "PCMA"} { // relayed, and transcoded
		t.Run(codec, func(t *testing.T) {
			bob := phone.New(t, phone.Options{User: "bob", Codecs: []string{codec}})
			c.Answering("bob"+codec, map[string]any{"instructions": []any{do("bridge", "to", bob.URI())}})
			s := startSIPp(t, "uac_basic", "-s", "bob"+codec, n.SIP)
			b := bob.Expect()
			b.Answer()
			b.WaitTone(440)
			s.wait()
			b.WaitEnded()
		})
	}
}

// SIPp is called, and echoes: the caller hears himself through two hops.
func TestSIPpIsCalled(t *testing.T) {
	need(t, "sipp", "sip-tester")
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	call := func(t *testing.T, scenario string, extra ...any) (*sipp, *phone.Call) {
		s := startSIPp(t, scenario, "-rtp_echo")
		s.listening()
		c.Answering(scenario, map[string]any{"instructions": []any{do("bridge", append([]any{"to", s.uri()}, extra...)...)}})
		return s, phone.New(t, phone.Options{User: "alice"}).Call(n.URI(scenario), phone.CallOptions{})
	}
	t.Run("echo", func(t *testing.T) {
		s, alice := call(t, "uas_basic")
		alice.WaitEarly(180)
		alice.WaitAnswered()
		alice.Play(phone.Tone(900))
		alice.WaitTone(900)
		alice.Hangup()
		s.wait()
	})
	t.Run("hangs up", func(t *testing.T) {
		s, alice := call(t, "uas_bye")
		alice.WaitAnswered()
		alice.WaitEnded()
		s.wait()
	})
	t.Run("busy", func(t *testing.T) {
		s, alice := call(t, "uas_busy")
		alice.WaitEnded()
		s.wait()
		id, _ := ended(t, c, "uas_busy")
		want(t, c.WaitEvent(id, "call.bridge.failed"), "cause", "busy")
	})
	t.Run("cancelled", func(t *testing.T) {
		s, alice := call(t, "uas_cancelled")
		alice.WaitEarly(180)
		alice.Hangup()
		s.wait()
	})
	t.Run("digest", func(t *testing.T) {
		s, alice := call(t, "uas_digest", "auth", map[string]any{"username": "carol", "password": "sesame"})
		alice.WaitAnswered()
		alice.Hangup()
		s.wait()
	})
}
