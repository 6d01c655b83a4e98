package sip

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// Without a free RTP port a caller is sent away for a while, and nothing goes out.
func TestNoPorts(t *testing.T) {
	h := newHouse(t, func(s *settings) {
		s.media.MinPort, s.media.MaxPort, s.media.DrainPorts = 30000, 30001, time.Hour
	})
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	other := h.caller()
	other.send("INVITE", plainOffer())
	res := other.response(503)
	if header(res, "Retry-After") == "" {
		t.Errorf("response\n%s", res)
	}
	other.ackFailure(res)
	p := newPeer(t, h.addr)
	_, err := h.door.Dial(context.Background(), engine.Outgoing{To: engine.Address{URI: "sip:a@" + p.addr.String()}})
	if engine.ErrorCode(err) != engine.CodeCapacity {
		t.Errorf("Dial: %v", err)
	}
	if _, err := h.door.Resume(context.Background(), leg.State()); err == nil {
		t.Error("resumed a leg that lives")
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
	h.empty()
}

// A hang-up waits for a lane that is full; what can be tried again says so at once.
func TestFullLane(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.layer.Guard.Queue = 1 })
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	l := leg.(*Leg)
	running, release := make(chan struct{}), make(chan struct{})
	if err := l.post(func() { close(running); <-release }); err != nil {
		t.Fatal(err)
	}
	<-running
	var err error
	for err == nil { // fills the queue
		err = l.Hold(context.Background(), false)
	}
	if engine.ErrorCode(err) != engine.CodeCapacity {
		t.Errorf("Hold on a full lane: %v", err)
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	close(release)
	h.over(leg, engine.ReasonNormal)
	c.ok(sip.BYE)
}

// The last provisional response is repeated while the call rings (RFC 3261 13.3.1.1), and not afterwards.
func TestRingingIsRepeated(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	l := h.call().leg.(*Leg)
	if err := l.Ring(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	c.response(180)
	if err := l.post(l.ringOn); err != nil { // as its timer does each minute
		t.Fatal(err)
	}
	if msg, n := c.read(); n != 2 || msg.(*sip.Response).StatusCode != 180 {
		t.Errorf("got\n%s", msg)
	}
	if err := l.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(200))
	c.ack("")
	h.signal(l, engine.SignalAnswered)
	if err := l.post(l.ringOn); err != nil {
		t.Fatal(err)
	}
	c.send("OPTIONS", "")
	c.response(200) // and no 180 before it
}

func TestMediaSignals(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	l := leg.(*Leg)
	for _, tt := range []struct {
		kind rtp.EventKind
		want engine.SignalKind
	}{{rtp.MediaLost, engine.SignalMediaLost}, {rtp.SourceChanged, 0}, {rtp.MediaBack, engine.SignalMediaBack}} {
		if err := l.post(func() { l.mediaEvent(rtp.Event{Kind: tt.kind}) }); err != nil {
			t.Fatal(err)
		}
		if tt.want != 0 {
			h.signal(leg, tt.want)
		}
	}
}

// Silence on the wire is a signal, unless somebody holds.
func TestMediaLost(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.media.MediaTimeout = 200 * time.Millisecond })
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	h.signal(leg, engine.SignalMediaLost)
}

// The transport fails before there is a final response: the call is over.
func TestInviteTransportLost(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	l := h.call().leg.(*Leg)
	if err := l.post(func() { h.door.Lost(l.uas, transaction.ErrTransport) }); err != nil {
		t.Fatal(err)
	}
	h.over(l, engine.ReasonUnreachable)
	h.empty()
}

// What stands in our descriptions: the address that was set, else that of the Contact, else the one that routes there.
func TestMediaAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*settings)
		want   string
	}{
		"set":       {func(s *settings) { s.door.MediaAddress = netip.MustParseAddr("203.0.113.9") }, "203.0.113.9"},
		"contact":   {func(s *settings) { s.layer.Advertise = "198.51.100.4:5060" }, "198.51.100.4"},
		"host name": {func(s *settings) { s.layer.Advertise = "sip.example.com" }, "127.0.0.1"},
		"bound":     {func(*settings) {}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, tt.change)
			c := h.caller()
			c.send("INVITE", plainOffer())
			if err := h.call().leg.Answer(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := described(t, c.response(200)).line().addr.String(); got != tt.want {
				t.Errorf("we describe %s, want %s", got, tt.want)
			}
		})
	}
}
