package sip

import (
	"context"
	"fmt"
	"testing"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// Targets come by priority, and within one in proportion to their weights.
func TestOrderTargets(t *testing.T) {
	list := []engine.TrunkTarget{{URI: "c", Priority: 2}, {URI: "a", Priority: 1, Weight: 3}, {URI: "b", Priority: 1}}
	for n, want := range []string{"abc", "abc", "abc", "bac"} { // of four: three are a's
		got := ""
		for _, v := range orderTargets(list, func(sum int) int {
			if sum != 4 {
				return 0
			}
			return n
		}) {
			got += v.URI
		}
		if got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for uri, good := range map[string]bool{
		"sip:host": true, "sip:192.0.2.1:5080;transport=tcp": true, "sip:[2001:db8::1]:5060": true,
		"host": false, "sip:a@host": false, "tel:+49": false, "sip:": false, "sip:host\r\nX: y": false,
	} {
		if _, err := ParseTarget(uri); (err == nil) != good {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// A target that says nothing is given up for the next one. When it answers after all, that dialog is acknowledged and ended
// (RFC 3261 13.2.2.4), and the call goes on with the other.
func TestTrunkTargetAnswersLate(t *testing.T) {
	h := newHouse(t)
	slow, quick := newPeer(t, h.addr), newPeer(t, h.addr)
	leg := h.dial(slow, func(out *engine.Outgoing) {
		out.To = engine.Address{URI: "+4930"}
		out.Trunk = &engine.Trunk{ID: "trk", FailoverMS: 150, Targets: []engine.TrunkTarget{
			{URI: fmt.Sprintf("sip:%s", slow.addr)}, {URI: fmt.Sprintf("sip:%s", quick.addr), Priority: 1},
		}}
	})
	quick.only = slow.only
	first := slow.request(sip.INVITE)
	second := quick.request(sip.INVITE)
	if second.CSeq().SeqNo <= first.CSeq().SeqNo || fromTag(second) != fromTag(first) || second.Recipient.User != "+4930" {
		t.Errorf("the second INVITE\n%s", second)
	}
	quick.respond(second, 200, "quick", plainOffer())
	quick.request(sip.ACK)
	h.signal(leg, engine.SignalAnswered)
	slow.respond(first, 200, "slow", plainOffer())
	if ack := slow.request(sip.ACK); toTag(ack) != "slow" || ack.CSeq().SeqNo != first.CSeq().SeqNo {
		t.Errorf("ACK\n%s", ack)
	}
	if bye := slow.ok(sip.BYE); toTag(bye) != "slow" {
		t.Errorf("BYE\n%s", bye)
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	if bye := quick.ok(sip.BYE); toTag(bye) != "quick" {
		t.Errorf("BYE\n%s", bye)
	}
}
