package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
)

// Two doors call each other with real RTP between them: over UDP, over TCP, and one door itself.
func TestDoorToDoor(t *testing.T) {
	for name, tt := range map[string]struct {
		same   bool
		params string
	}{"UDP": {false, ""}, "TCP": {false, ";transport=tcp"}, "itself": {true, ""}} {
		t.Run(name, func(t *testing.T) {
			a := newHouse(t)
			b := a
			if !tt.same {
				b = newHouse(t)
			}
			ctx := context.Background()
			out, err := a.door.Dial(ctx, engine.Outgoing{
				Key: "k", From: engine.Address{URI: "+4930123"}, To: engine.Address{URI: "sip:echo@" + b.addr.String() + tt.params},
			})
			if err != nil {
				t.Fatal(err)
			}
			arrived := b.call()
			in := arrived.leg
			if arrived.in.From.User() != "+4930123" || arrived.in.To.User() != "echo" {
				t.Errorf("incoming %+v", arrived.in)
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(in.Ring(ctx, false))
			a.signal(out, engine.SignalRinging)
			must(in.Ring(ctx, true))
			a.signal(out, engine.SignalEarlyMedia)
			must(in.Answer(ctx))
			a.signal(out, engine.SignalAnswered)
			b.signal(in, engine.SignalAnswered)
			for _, leg := range []engine.Leg{out, in} {
				eventually(t, "packets arrive", func() bool { return leg.Audio().Quality().PacketsReceived > 3 })
			}
			must(out.Hold(ctx, true))
			b.signal(in, engine.SignalHeld)
			must(out.Hold(ctx, false))
			b.signal(in, engine.SignalUnheld)
			must(out.SendDTMF(ctx, "5#"))
			for _, key := range []byte("5#") {
				if s := b.signal(in, engine.SignalDigit); s.Digit.Key != key || s.Digit.Method != dtmf.RFC4733 {
					t.Errorf("digit %+v, want %c", s.Digit, key)
				}
			}
			must(in.SendDTMF(ctx, "9"))
			if s := a.signal(out, engine.SignalDigit); s.Digit.Key != '9' {
				t.Errorf("digit %+v", s.Digit)
			}
			must(in.Hangup(ctx, engine.Cause{Reason: engine.ReasonBusy, Source: engine.SourceApp}))
			b.over(in, engine.ReasonBusy)
			if c := a.over(out, engine.ReasonBusy); c.Source != engine.SourceCallee || c.Q850 != 17 {
				t.Errorf("cause %+v", c)
			}
			if n := a.door.Stats().Legs + b.door.Stats().Legs; n != 0 {
				t.Errorf("%d legs live", n)
			}
		})
	}
}

// A name is looked up without holding up the lane; the ACK and the BYE go where the Contact says.
func TestDialByName(t *testing.T) {
	h := newHouse(t, func(s *settings) {
		s.layer.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "phone.example" {
				return nil, fmt.Errorf("no host %s", host)
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	p := newPeer(t, h.addr)
	port := fmt.Sprint(p.addr.Port())
	leg := h.dial(p, func(o *engine.Outgoing) { o.To.URI = "sip:bob@phone.example:" + port })
	invite := p.request("INVITE")
	p.respond(invite, 200, "calleetag", plainOffer(), "Contact: <sip:bob@phone.example:"+port+">")
	p.request("ACK")
	h.signal(leg, engine.SignalAnswered)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	p.ok("BYE")
}

// An engine that does not read loses keys, which are counted, but never the answer nor the end.
func TestSignalsBounded(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(200))
	const presses = signalQueue + 10
	press := func() {
		c.send("INFO", "Signal=1", "Content-Type: application/dtmf-relay")
		c.response(200)
	}
	for range presses {
		press()
	}
	invite := c.cseq
	c.cseq = 1
	c.ack("")
	c.cseq = invite
	press()
	c.send("BYE", "")
	c.response(200)
	var kinds []engine.SignalKind
	for s := range leg.Signals() {
		kinds = append(kinds, s.Kind)
	}
	n := len(kinds)
	if n != signalQueue || kinds[n-2] != engine.SignalAnswered || kinds[n-1] != engine.SignalEnded {
		t.Errorf("signals %v", kinds)
	}
	if got := h.door.Stats().SignalsDropped; got != presses+1-(signalQueue-signalReserve) {
		t.Errorf("%d dropped", got)
	}
}

// A door that stops tells the engine of every leg, and takes no new one.
func TestServeEnds(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	in, _ := h.connect(c, plainOffer())
	p := newPeer(t, h.addr)
	out := h.dial(p)
	p.request("INVITE")
	h.stop()
	h.over(in, engine.ReasonNodeLost)
	h.over(out, engine.ReasonNodeLost)
	if _, err := h.door.Dial(context.Background(), engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1:9"}}); err == nil {
		t.Error("a stopped door dials")
	}
	if err := in.Hold(context.Background(), true); engine.ErrorCode(err) != engine.CodeInvalidState {
		t.Errorf("Hold on a leg that is over: %v", err)
	}
}

// Many calls at once, steered from many goroutines: what -race has to look at.
func TestManyCallsAtOnce(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.layer.T1 = 500 * time.Millisecond })
	const callers, each = 8, 20
	ctx := context.Background()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				out, err := h.door.Dial(ctx, engine.Outgoing{To: engine.Address{URI: "sip:x@" + h.addr.String()}})
				if err != nil {
					t.Error(err)
					return
				}
				for s := range out.Signals() {
					if s.Kind == engine.SignalAnswered {
						_ = out.State()
						_ = out.Hold(ctx, true)
						_ = out.Hangup(ctx, engine.Cause{Reason: engine.ReasonNormal})
					}
					if s.Kind == engine.SignalEnded && s.Cause.Reason != engine.ReasonNormal {
						t.Errorf("ended with %+v", s.Cause)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range callers * each {
			leg := h.call().leg
			wg.Go(func() {
				_ = leg.Ring(ctx, true)
				_ = leg.Answer(ctx)
				for range leg.Signals() {
					_ = leg.State()
				}
			})
		}
	})
	wg.Wait()
	if s := h.door.Stats(); s.Legs != 0 || s.Inbound != callers*each || s.Outbound != callers*each || h.layer.Stats().Panics != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestOptionsChecked(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a door without layer and media")
	}
	h := newHouse(t)
	for name, o := range map[string]Options{
		"short":    {SessionExpires: time.Minute},
		"no codec": {Codecs: h.door.o.Codecs[:0]},
	} {
		o.Layer, o.Media = h.layer, h.door.o.Media
		if _, err := New(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// What is no SIP for us does not disturb the calls.
func TestAlienDatagrams(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	conn, err := net.Dial("udp", h.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range []string{"", "\r\n\r\n", "hello", "INVITE", "SIP/2.0 200 OK\r\n\r\n", "INVITE sip:x SIP/2.0\r\nVia: x\r\n\r\n"} {
		if _, err := conn.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// A phone that sends each key by RFC 4733 and by INFO presses it once.
func TestDigitByBothWays(t *testing.T) {
	a, b := newHouse(t), newHouse(t)
	ctx := context.Background()
	out, err := a.door.Dial(ctx, engine.Outgoing{To: engine.Address{URI: "sip:x@" + b.addr.String()}})
	if err != nil {
		t.Fatal(err)
	}
	in := b.call().leg
	if err := in.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	a.signal(out, engine.SignalAnswered)
	b.signal(in, engine.SignalAnswered)
	for _, key := range []byte("77") {
		if err := out.SendDTMF(ctx, string(key)); err != nil {
			t.Fatal(err)
		}
		if err := out.(*Leg).sendInfoKey(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		b.signal(in, engine.SignalDigit)
	}
	eventually(t, "both twins are seen", func() bool { return b.door.Stats().DigitsDoubled == 2 })
	if err := out.Hangup(ctx, engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	b.over(in, engine.ReasonNormal)
}
