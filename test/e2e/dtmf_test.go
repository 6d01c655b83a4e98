package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// digitsOf are the digits that a call's events tell, one letter each.
func digitsOf(c *harness.Client, id string) string {
	var b strings.Builder
	for _, e := range c.CallEvents(id, 0, 0) {
		if e.Type == "call.dtmf.received" {
			b.WriteString(e.Text("digit"))
		}
	}
	return b.String()
}

// Digits come once each by RFC 4733, also when its first and last packets are lost, a long press is one digit, and SIP
// INFO does as well.
func TestDigitsIn(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	want := ""
	step := func(digits string, send func()) {
		t.Helper()
		send()
		want += digits
		harness.Eventually(t, "the digits are "+want, func() bool { return digitsOf(c, id) == want }, func() string { return digitsOf(c, id) })
	}
	step("0123456789*#ABCD", func() { alice.SendKeys("0123456789*#ABCD") })
	step("11", func() { alice.SendKeys("11") })
	step("7", func() { alice.SendKeysLossy("7") })
	step("8", func() { alice.SendLongKey('8', 1500*time.Millisecond) })
	step("9#", func() { alice.SendInfo("9#") })
}

// send_dtmf reaches the far end as RFC 4733 with three ends, or as INFO where that was not agreed.
func TestDigitsOut(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "send_dtmf", map[string]any{"digits": "12#", "command_id": "keys"})
	alice.WaitDigits("12#")
	harness.Eventually(t, "every key has three ends and lasts", func() bool {
		for _, k := range alice.Heard().Keys {
			if k.Ends != 3 || k.Duration < 80*time.Millisecond {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("%+v", alice.Heard().Keys) })
	if e := c.WaitEvent(id, "call.dtmf.sent"); e.CommandID != "keys" || e.Text("digits") != "12#" {
		t.Errorf("call.dtmf.sent: %q %v", e.CommandID, e.Data)
	}
	old, id := answered(t, n, c, phone.Options{NoEvents: true})
	c.Action(id, "send_dtmf", map[string]any{"digits": "5"})
	harness.Eventually(t, "an INFO arrives", func() bool { return len(old.Infos()) == 1 }, nil)
	if b := old.Infos()[0].Body; !strings.Contains(b, "5") {
		t.Errorf("INFO:\n%s", b)
	}
}

// Digits pass a bridge once: by RFC 4733 to RFC 4733, and from INFO to RFC 4733; the events tell them too.
func TestDigitsThroughABridge(t *testing.T) {
	alice, bob, _ := connect(t, phone.Options{}, phone.Options{})
	alice.Play(phone.Tone(600))
	bob.WaitTone(600)
	alice.SendKeys("159")
	bob.WaitDigits("159")
	for _, k := range bob.Heard().Keys {
		if k.Ends < 1 {
			t.Errorf("key %c has no end", k.Key)
		}
	}
	bob.WaitTone(600) // audio goes on behind them
	alice.SendInfo("3")
	bob.WaitDigits("1593")
}
