package sip

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// The far end holds and takes back: the answer has the complementary direction, and o= counts only changes.
func TestHoldByPeer(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, res := h.connect(c, plainOffer())
	version := described(t, res).origin.SessionVersion
	steps := []struct {
		name   string
		body   string
		want   direction
		signal engine.SignalKind
		change bool
	}{
		{"sendonly", sdpText(2, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000", "a=sendonly"), recvonly, engine.SignalHeld, true},
		{"again", sdpText(2, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000", "a=sendonly"), recvonly, 0, false},
		{"inactive", sdpText(3, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000", "a=inactive"), inactive, 0, true},
		{"back", sdpText(4, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000"), sendrecv, engine.SignalUnheld, true},
		{"recvonly", sdpText(5, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000", "a=recvonly"), sendonly, 0, true},
		{"old hold", strings.Replace(sdpText(6, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000"), "c=IN IP4 127.0.0.1",
			"c=IN IP4 0.0.0.0", 1), recvonly, engine.SignalHeld, true},
		{"session level", "v=0\r\no=peer 77 7 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=sendonly\r\n" +
			"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", recvonly, 0, false},
	}
	for _, s := range steps {
		c.send("INVITE", s.body)
		res := c.response(200)
		d := described(t, res)
		if d.line().direction != s.want {
			t.Errorf("%s: answered %s, want %s", s.name, d.line().direction, s.want)
		}
		if changed := d.origin.SessionVersion != version; changed != s.change {
			t.Errorf("%s: o= version %d after %d, changed should be %v", s.name, d.origin.SessionVersion, version, s.change)
		}
		version = d.origin.SessionVersion
		c.ack("")
		if s.signal != 0 {
			h.signal(leg, s.signal)
		}
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

func TestReinviteChangesMedia(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, res := h.connect(c, plainOffer())
	port := described(t, res).line().port
	moved := newPeer(t, h.addr)
	c.send("INVITE", sdpText(2, 41000, "8", "a=sendrecv"), "Contact: <sip:moved@"+moved.addr.String()+">")
	d := described(t, c.response(200))
	c.ack("")
	if d.line().port != port {
		t.Errorf("our RTP port moved from %d to %d", port, d.line().port)
	}
	eventually(t, "the new codec is in use", func() bool { return leg.Audio().Codec().Name == "PCMA" })
	s, err := decodeState(leg.State())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Media.RemoteAddr.String(); got != "127.0.0.1:41000" {
		t.Errorf("media goes to %s", got)
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	if bye := moved.ok(sip.BYE); bye.Recipient.User != "moved" { // target refresh, RFC 3261 12.2.2
		t.Errorf("BYE to %s", bye.Recipient.String())
	}
}

// A bad offer is refused and the session goes on as it was (RFC 3261 14.2).
func TestReinviteRefused(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	before := leg.State()
	for body, status := range map[string]int{sdpText(2, 41000, "18"): 488, sdpText(2, 0, "0"): 488, "v=0\r\nrubbish": 400} {
		c.send("INVITE", body)
		c.ackFailure(c.response(status))
	}
	c.send("INVITE", "hello", "Content-Type: text/plain")
	c.ackFailure(c.response(415))
	a, _ := decodeState(before)
	b, err := decodeState(leg.State())
	if err != nil || string(a.Media.Local) != string(b.Media.Local) || a.Media.RemoteAddr != b.Media.RemoteAddr {
		t.Errorf("the session changed: %+v", b.Media)
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// Every m-line is answered, and later offers of ours keep their number (RFC 3264 6, 8).
func TestEveryMediaLineAnswered(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	offer := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=video 5000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n" +
		"m=audio 40000 RTP/AVP 0\r\n" +
		"m=application 5002 UDP/DTLS/SCTP webrtc-datachannel\r\n" +
		"m=audio 40010 RTP/AVP 8\r\n"
	leg, res := h.connect(c, offer)
	check := func(name string, msg sip.Message) {
		t.Helper()
		d := described(t, msg)
		var got []string
		for _, m := range d.media {
			got = append(got, m.Kind+":"+strconv.FormatBool(m.port != 0))
		}
		if s := strings.Join(got, " "); s != "video:false audio:true application:false audio:false" {
			t.Errorf("%s has %s\n%s", name, s, msg.Body())
		}
	}
	check("answer", res)
	if err := leg.Hold(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	req := c.request(sip.INVITE)
	check("offer", req)
	c.respond(req, 488, "", "")
	c.request(sip.ACK)
}

func TestOfferlessReinvite(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, res := h.connect(c, plainOffer())
	first := described(t, res)
	c.send("INVITE", "")
	d := described(t, c.response(200))
	if d.origin.SessionVersion != first.origin.SessionVersion || d.line().port != first.line().port {
		t.Errorf("offer in the 200: o= %+v, was %+v", d.origin, first.origin)
	}
	other := h.caller() // while our offer has no answer, another offer is glare
	other.only = c.callID
	other.callID, other.remote, other.cseq, other.target = c.callID, c.remote, c.cseq, c.target
	other.send("UPDATE", plainOffer())
	if got := other.response(491); got == nil {
		t.Error("no 491")
	}
	c.ack(sdpText(2, 42000, "0", "a=sendonly"))
	h.signal(leg, engine.SignalHeld)
	c.cseq = other.cseq
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

func TestUpdate(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	c.send("UPDATE", "") // a refresh of target and timer only
	if res := c.response(200); len(res.Body()) != 0 || res.Contact() == nil {
		t.Errorf("response\n%s", res)
	}
	c.send("UPDATE", sdpText(2, 40000, "0", "a=sendonly"))
	if d := described(t, c.response(200)); d.line().direction != recvonly {
		t.Errorf("answered %s", d.line().direction)
	}
	h.signal(leg, engine.SignalHeld)
	c.send("UPDATE", sdpText(3, 40000, "18"))
	c.response(488)
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// An UPDATE with an offer before the INVITE's answer is told to wait (RFC 3311 5.2); one without is fine.
func TestUpdateBeforeAnswer(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Ring(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(183))
	c.send("UPDATE", plainOffer())
	if res := c.response(500); header(res, "Retry-After") == "" {
		t.Errorf("response\n%s", res)
	}
	c.send("UPDATE", "")
	c.response(200)
}

// A second INVITE before the first has a final response: 500 with Retry-After (RFC 3261 14.2).
func TestInviteBeforeFinalResponse(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Ring(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(180))
	c.send("INVITE", plainOffer())
	res := c.response(500)
	if n, err := strconv.Atoi(header(res, "Retry-After")); err != nil || n < 0 || n > 10 {
		t.Errorf("Retry-After %q", header(res, "Retry-After"))
	}
	c.ackFailure(res)
}

// A number that was used, or a lower one, is refused (RFC 3261 12.2.2).
func TestLowerCSeq(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	c.cseq = 100
	c.send("OPTIONS", "")
	c.response(200)
	for _, last := range []int{100, 50} {
		c.cseq = last - 1
		c.send("INFO", "")
		c.response(500)
	}
	c.cseq = 200
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// In the dialog, methods that we do not do are refused with what we do.
func TestInDialogMethods(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	for method, status := range map[string]int{"REFER": 405, "NOTIFY": 405, "MESSAGE": 405, "DANCE": 501, "OPTIONS": 200} {
		c.send(method, "")
		if res := c.response(status); header(res, "Allow") != methods {
			t.Errorf("%s: Allow %q", method, header(res, "Allow"))
		}
	}
	c.send("INVITE", plainOffer(), "Require: replaces")
	res := c.response(420)
	if header(res, "Unsupported") != "replaces" {
		t.Errorf("response\n%s", res)
	}
	c.ackFailure(res)
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

func TestHoldByUs(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, res := h.connect(c, plainOffer())
	first := described(t, res)
	ctx := context.Background()
	for i, step := range []struct {
		on    bool
		offer direction
		reply string
	}{{true, sendonly, "a=recvonly"}, {false, sendrecv, "a=sendrecv"}} {
		if err := leg.Hold(ctx, step.on); err != nil {
			t.Fatal(err)
		}
		req := c.request(sip.INVITE)
		d := described(t, req)
		if d.line().direction != step.offer || d.origin.SessionID != first.origin.SessionID ||
			d.origin.SessionVersion != first.origin.SessionVersion+uint64(i)+1 {
			t.Errorf("offer\n%s", req.Body())
		}
		if d.line().codecs[0].Name != "PCMU" || len(d.line().codecs) != 2 {
			t.Errorf("offer has other formats than what is in use\n%s", req.Body())
		}
		c.respond(req, 200, "", sdpText(i+2, 40000, "0 101", "a=rtpmap:101 telephone-event/8000", step.reply))
		ack := c.request(sip.ACK)
		if ack.CSeq().SeqNo != req.CSeq().SeqNo {
			t.Errorf("ACK has CSeq %d of %d", ack.CSeq().SeqNo, req.CSeq().SeqNo)
		}
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal) // our own hold gave no signal
}

// The far end answers our INVITE with 491: we wait and send it again (RFC 3261 14.1). Theirs meanwhile gets 491.
func TestGlare(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	if err := leg.Hold(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	ours := c.request(sip.INVITE)
	c.send("INVITE", plainOffer())
	c.ackFailure(c.response(491))
	c.respond(ours, 491, "", "")
	c.request(sip.ACK)
	c.send("INVITE", plainOffer()) // theirs comes first
	if d := described(t, c.response(200)); d.line().direction != sendrecv {
		t.Errorf("answered %s", d.line().direction)
	}
	c.ack("")
	again := c.request(sip.INVITE)
	if described(t, again).line().direction != sendonly || again.CSeq().SeqNo <= ours.CSeq().SeqNo {
		t.Errorf("second try\n%s", again)
	}
	c.respond(again, 200, "", sdpText(2, 40000, "0", "a=recvonly"))
	c.request(sip.ACK)
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
	if h.door.Stats().Glare != 2 {
		t.Errorf("stats %+v", h.door.Stats())
	}
}

// Whoever made the Call-ID waits longer after a 491.
func TestGlareDelay(t *testing.T) {
	for range 200 {
		if d := glareDelay(true); d < 0 || d > 2e9 {
			t.Fatalf("not the owner: %v", d)
		}
		if d := glareDelay(false); d < 2.1e9 || d > 4e9 {
			t.Fatalf("the owner: %v", d)
		}
	}
}

// A refused hold leaves the call as it was; the next wish is tried anew.
func TestHoldRefused(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	ctx := context.Background()
	if err := leg.Hold(ctx, true); err != nil {
		t.Fatal(err)
	}
	req := c.request(sip.INVITE)
	c.respond(req, 488, "", "")
	c.request(sip.ACK)
	c.send("OPTIONS", "")
	c.response(200)
	if err := leg.Hold(ctx, true); err != nil {
		t.Fatal(err)
	}
	req = c.request(sip.INVITE)
	c.respond(req, 481, "", "") // and now the dialog is gone
	c.request(sip.ACK)
	c.ok(sip.BYE)
	if cause := h.over(leg, engine.ReasonUnreachable); cause.SIPStatus != 481 {
		t.Errorf("cause %+v", cause)
	}
	h.empty()
}

// Our 2xx to a re-INVITE without an ACK ends the session (RFC 3261 14.2, 13.3.1.4).
func TestReinviteWithoutACK(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.layer.T1 = 5e6 })
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	c.send("INVITE", plainOffer())
	c.response(200)
	c.ok(sip.BYE)
	h.over(leg, engine.ReasonNoACK)
	h.empty()
}

// The answer to our re-INVITE comes again because our ACK was lost: it is acknowledged again (RFC 3261 13.2.2.4).
func TestReinvite2xxAgain(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	if err := leg.Hold(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	req := c.request(sip.INVITE)
	answer := sdpText(2, 40000, "0", "a=recvonly")
	c.respond(req, 200, "", answer)
	ack := c.request(sip.ACK)
	c.respond(req, 200, "", answer)
	msg, n := c.read()
	if again, ok := msg.(*sip.Request); !ok || n != 2 || again.Method != sip.ACK || again.CSeq().SeqNo != ack.CSeq().SeqNo {
		t.Errorf("got\n%s", msg)
	}
}
