package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// The servers of a name come from SRV and are tried in its order; the Request-URI keeps the name (RFC 3263 4, RFC 3261 19.1.5). A
// name without SRV has the address of its own.
func TestTrunkServers(t *testing.T) {
	var first, second *peer
	asked := make(chan string, 8)
	h := newHouse(t, func(s *settings) {
		s.layer.Services = func(_ context.Context, service, proto, name string) ([]*net.SRV, error) {
			asked <- service + " " + proto + " " + name
			if name != "carrier.example" {
				return nil, errors.New("none")
			}
			return []*net.SRV{{Target: "one.carrier.example.", Port: first.addr.Port()}, {Target: "two.carrier.example.", Port: second.addr.Port()}}, nil
		}
		s.layer.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "one.carrier.example" || host == "two.carrier.example" {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return nil, errors.New("unknown")
		}
	})
	first, second = newPeer(t, h.addr), newPeer(t, h.addr)
	leg := h.dial(first, func(out *engine.Outgoing) {
		out.To = engine.Address{URI: "+4930"}
		out.Trunk = &engine.Trunk{ID: "trk", Targets: []engine.TrunkTarget{{URI: "sip:carrier.example"}, {URI: "sip:other.example", Priority: 1}}}
	})
	second.only = first.only
	one := first.request(sip.INVITE)
	if one.Recipient.Host != "carrier.example" || one.Recipient.Port != 0 {
		t.Errorf("Request-URI %s", one.Recipient.String())
	}
	first.respond(one, 503, "x", "")
	first.request(sip.ACK)
	two := second.request(sip.INVITE)
	if two.Recipient.Host != "carrier.example" {
		t.Errorf("Request-URI %s", two.Recipient.String())
	}
	second.respond(two, 503, "x", "")
	second.request(sip.ACK)
	h.over(leg, engine.ReasonUnreachable) // the other name has neither
	for _, want := range []string{"sip udp carrier.example", "sip udp other.example"} {
		if got := <-asked; got != want {
			t.Errorf("asked for %q, want %q", got, want)
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
