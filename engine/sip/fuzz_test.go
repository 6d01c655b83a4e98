package sip

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// Whatever comes as an offer or an answer, what we agree to is sane and what we write can be read.
func FuzzSDP(f *testing.F) {
	f.Add([]byte(plainOffer()))
	f.Add(body("m=audio 4000 RTP/AVP 97 96", "a=rtpmap:97 pcmu/8000/1", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15", "a=ptime:30"))
	f.Add(body(browserFormats...))
	f.Add(body("m=video 5000 RTP/AVP 96", "m=audio 4000 RTP/AVP 8", "a=sendonly", "m=audio 0 RTP/AVP 0", "m=image 5 udptl t38"))
	f.Add([]byte("v=0\no=- 1 1 IN IP6 ::1\ns=-\nc=IN IP6 ::\nt=0 0\nm=audio 65535 RTP/AVPF 0 13 101\na=rtcp:1 IN IP6 ::2\na=inactive\n"))
	f.Add([]byte("v=0\r\no=x 18446744073709551615 0 IN IP4 0.0.0.0\r\ns= \r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=recvonly\r\nm=audio 1/2 RTP/AVP 0\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := freshMedia().answer(data, allCodecs())
		if err == nil {
			checkAgreed(t, m, data)
			again, err := m.answer(data, allCodecs())
			if err != nil || again.Version != m.Version || !bytes.Equal(again.Local, m.Local) {
				t.Errorf("the same offer was answered otherwise: %v\n%s\n%s", err, m.Local, again.Local)
			}
		}
		offer, err := freshMedia().offer(allCodecs())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := offer.accept(data); err == nil {
			checkAgreed(t, got, nil)
			if _, err := got.offer(allCodecs()); err != nil {
				t.Errorf("no next offer: %v", err)
			}
		}
	})
}

func checkAgreed(t *testing.T, m MediaState, offer []byte) {
	t.Helper()
	d, err := parseDescription(m.Local)
	if err != nil {
		t.Fatalf("our description cannot be read: %v\n%s", err, m.Local)
	}
	if d.audio != m.Audio || d.line().port != int(m.Address.Port()) {
		t.Errorf("audio is line %d, want %d\n%s", d.audio, m.Audio, m.Local)
	}
	p := m.params(m.Address.Addr())
	if p.Codec.Name == "" || p.SendPT > 127 || p.RecvPT > 127 || p.PacketTime <= 0 || p.Events && p.EventClock <= 0 {
		t.Errorf("params %+v", p)
	}
	if offer == nil {
		return
	}
	o, err := parseDescription(offer)
	if err != nil || len(o.media) != len(d.media) {
		t.Errorf("%d m-lines answered with %d: %v", len(o.media), len(d.media), err)
	}
	if theirs := o.line().direction.reverse(); d.line().direction&^theirs != 0 {
		t.Errorf("%s answered with %s", o.line().direction, d.line().direction)
	}
}

// The states that FuzzDialog starts from.
const (
	fuzzRinging = iota
	fuzzEarly
	fuzzAnswering
	fuzzOfferless
	fuzzTalking
	fuzzHolding
	fuzzDialled
	fuzzProceeding
	fuzzConnected
	fuzzGone
	fuzzStates
)

// Whatever message hits a dialog in whatever state, nothing panics and its lane goes on.
func FuzzDialog(f *testing.F) {
	for state := range byte(fuzzStates) {
		for _, seed := range []struct{ kind, headers, body string }{
			{"INVITE", "", plainOffer()},
			{"INVITE", "Supported: timer\nSession-Expires: 1\nRequire: x", ""},
			{"ACK", "", plainOffer()},
			{"BYE", "Reason: Q.850;cause=17", ""},
			{"UPDATE", "Contact: *", "v=0\r\n"},
			{"CANCEL", "", ""},
			{"INFO", "Info-Package: x", "1"},
			{"INFO", "Content-Type: application/dtmf-relay", "Signal=5"},
			{"OPTIONS", "Record-Route: <sip:x>", ""},
			{"PRACK", "RAck: 1 1 INVITE", ""},
			{"180", "", ""},
			{"183", "Require: 100rel\nRSeq: 1", plainOffer()},
			{"200", "Record-Route: <sip:127.0.0.1:1>", plainOffer()},
			{"302", "Contact: <sip:a@127.0.0.1:1>;q=0.5, *, <tel:1>", ""},
			{"401", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"", ""},
			{"422", "Min-SE: 4000000000", ""},
			{"491", "", ""},
			{"500", "Retry-After: 9999999999", ""},
			{"699", "Reason: SIP;cause=x", ""},
		} {
			f.Add(state, seed.kind, seed.headers, seed.body)
		}
	}
	h := newHouse(f, func(s *settings) { s.layer.T1, s.layer.T2 = 50*time.Millisecond, 200*time.Millisecond })
	f.Fuzz(func(t *testing.T, state byte, kind, headers, text string) {
		fuzzHouse := *h
		fuzzHouse.t = t
		hitDialog(t, &fuzzHouse, state%fuzzStates, kind, headers, text)
		if n := h.layer.Stats().Panics; n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}

func hitDialog(t *testing.T, h *house, state byte, kind, headers, text string) {
	t.Helper()
	c, leg, pending := fuzzDialog(t, h, state)
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(headers, "\r", ""), "\n") {
		if strings.Contains(line, ":") {
			lines = append(lines, line)
		}
	}
	if len(text) > 20000 {
		text = text[:20000]
	}
	switch {
	case pending != nil && len(kind) == 3 && kind >= "100" && kind <= "699":
		var status int
		_, _ = fmt.Sscan(kind, &status)
		c.respond(pending, status, "calleetag", text, lines...)
	case isToken(kind):
		c.cseq++
		if kind == "ACK" || kind == "CANCEL" {
			c.cseq--
		}
		c.write(c.text(kind, c.cseq, c.invited+strings.Repeat("x", len(kind)%4), text, lines...))
	}
	ping(t, c)
	_ = leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}) // an error says that it is over
	for range leg.Signals() {
	}
	ping(t, c)
}

// ping proves that the lane of the Call-ID has worked off all that came before.
func ping(t *testing.T, c *caller) {
	t.Helper()
	c.branch++
	branch := fmt.Sprintf("z9hG4bKping.%s.%d", c.callID, c.branch)
	remote := c.remote
	c.remote = ""
	c.write(c.text("OPTIONS", 999999+c.branch, branch, ""))
	c.remote = remote
	buf := make([]byte, 65536)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		n, _, err := c.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("the lane is dead: %v", err)
		}
		if s := string(buf[:n]); strings.HasPrefix(s, "SIP/2.0 200") && strings.Contains(s, branch) {
			return
		}
	}
}

// fuzzDialog puts a dialog into a state. pending is a request of the door that has no final response.
func fuzzDialog(t *testing.T, h *house, state byte) (c *caller, leg engine.Leg, pending *sip.Request) {
	t.Helper()
	ctx := context.Background()
	if state >= fuzzDialled && state != fuzzGone {
		p := newPeer(t, h.addr)
		leg = h.dial(p, withCredentials)
		pending = p.request(sip.INVITE)
		c = p.callee(pending)
		switch state {
		case fuzzProceeding:
			p.respond(pending, 183, "calleetag", plainOffer())
			h.signal(leg, engine.SignalEarlyMedia)
		case fuzzConnected:
			p.respond(pending, 200, "calleetag", plainOffer())
			h.signal(leg, engine.SignalAnswered)
		}
		return c, leg, pending
	}
	c = h.caller()
	offer := plainOffer()
	if state == fuzzOfferless {
		offer = ""
	}
	c.send("INVITE", offer, "Allow: UPDATE, INFO")
	leg = h.call().leg
	if state == fuzzRinging || state == fuzzEarly {
		if err := leg.Ring(ctx, state == fuzzEarly); err != nil {
			t.Fatal(err)
		}
		c.learn(c.next().(*sip.Response))
		return c, leg, nil
	}
	if err := leg.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(200))
	if state == fuzzAnswering || state == fuzzOfferless {
		return c, leg, nil
	}
	c.ack("")
	h.signal(leg, engine.SignalAnswered)
	switch state {
	case fuzzHolding:
		if err := leg.Hold(ctx, true); err != nil {
			t.Fatal(err)
		}
		pending = c.request(sip.INVITE)
	case fuzzGone:
		if err := leg.Hangup(ctx, engine.Cause{Reason: engine.ReasonNormal}); err != nil {
			t.Fatal(err)
		}
		pending = c.request(sip.BYE)
	}
	return c, leg, pending
}
