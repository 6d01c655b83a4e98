package sip

import (
	"context"
	"testing"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// resumed checks the re-INVITE by which a second node goes on with a dialog, and answers it.
func resumed(t *testing.T, c *caller, last, lastOffer sip.Message, node *house) *sip.Request {
	t.Helper()
	req := c.request(sip.INVITE)
	d, was := described(t, req), described(t, lastOffer)
	if string(*req.CallID()) != c.callID || fromTag(req) != c.remote || toTag(req) != c.tag || req.Recipient.String() != "sip:bob@"+c.addr.String() {
		t.Errorf("re-INVITE of another dialog\n%s", req)
	}
	if last != nil && req.CSeq().SeqNo <= last.CSeq().SeqNo {
		t.Errorf("CSeq %d after %d", req.CSeq().SeqNo, last.CSeq().SeqNo)
	}
	if d.origin.SessionID != was.origin.SessionID || d.origin.SessionVersion != was.origin.SessionVersion+1 {
		t.Errorf("o= is %+v, was %+v", d.origin, was.origin)
	}
	if names := formatNames(d.line().codecs); names != "PCMU telephone-event" {
		t.Errorf("offer has %s: only what is in use may be offered", names)
	}
	if contact := req.Contact(); contact == nil || contact.Address.Port != int(node.addr.Port()) {
		t.Errorf("Contact\n%s", req)
	}
	return req
}

func TestRestoreUAS(t *testing.T) {
	one := newHouse(t)
	two := newHouse(t)
	c := one.caller()
	leg, res := one.connect(c, plainOffer())
	state := leg.State()
	one.stop() // without a word
	one.over(leg, engine.ReasonNodeLost)
	c.peer.to = two.addr
	again, err := two.door.Resume(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.door.Resume(context.Background(), state); err == nil {
		t.Error("a leg was resumed twice")
	}
	req := resumed(t, c, nil, res, two)
	c.respond(req, 491, "", "") // busy with its own INVITE: try again
	c.request(sip.ACK)
	req2 := c.request(sip.INVITE)
	if req2.CSeq().SeqNo <= req.CSeq().SeqNo {
		t.Errorf("CSeq %d after %d", req2.CSeq().SeqNo, req.CSeq().SeqNo)
	}
	c.respond(req2, 200, "", sdpText(2, 40000, "0 101", "a=rtpmap:101 telephone-event/8000"))
	c.request(sip.ACK)
	two.signal(again, engine.SignalAnswered)
	c.target = req.Contact().Address.String()
	c.send("INFO", "Signal=7", "Content-Type: application/dtmf-relay")
	c.response(200)
	if s := two.signal(again, engine.SignalDigit); s.Digit.Key != '7' {
		t.Errorf("%+v", s)
	}
	c.send("BYE", "")
	c.response(200)
	two.over(again, engine.ReasonNormal)
}

func TestRestoreUAC(t *testing.T) {
	one := newHouse(t)
	two := newHouse(t)
	p := newPeer(t, one.addr)
	leg := one.dial(p, withCredentials)
	invite := p.answer(sdpText(1, 40000, "0 101", "a=rtpmap:101 telephone-event/8000"), "Contact: <sip:bob@"+p.addr.String()+">")
	one.signal(leg, engine.SignalAnswered)
	c := p.callee(invite)
	if err := leg.Hold(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	hold := p.request(sip.INVITE)
	p.respond(hold, 200, "", sdpText(2, 40000, "0 101", "a=rtpmap:101 telephone-event/8000", "a=recvonly"),
		"Contact: <sip:bob@"+p.addr.String()+">")
	p.request(sip.ACK)
	eventually(t, "the hold is in the state", func() bool {
		s, err := decodeState(leg.State())
		return err == nil && s.Media.Hold
	})
	state := leg.State()
	one.stop()
	p.to = two.addr
	again, err := two.door.Resume(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	req := resumed(t, c, hold, hold, two)
	if described(t, req).line().direction != sendonly {
		t.Error("the hold was lost")
	}
	const challenge = `Digest realm="r", nonce="n", qop="auth"`
	p.respond(req, 401, "", "", "WWW-Authenticate: "+challenge)
	p.request(sip.ACK)
	req = p.request(sip.INVITE)
	verify(t, req, "authorization", challenge)
	p.respond(req, 200, "", sdpText(3, 40000, "0", "a=recvonly"))
	p.request(sip.ACK)
	two.signal(again, engine.SignalAnswered)
	if err := again.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	bye := p.ok(sip.BYE)
	if bye.CSeq().SeqNo <= req.CSeq().SeqNo || toTag(bye) != "calleetag" {
		t.Errorf("BYE\n%s", bye)
	}
}

// A peer that does not go on is not kept: 488 and 481 end the leg at once.
func TestResumeRefused(t *testing.T) {
	for _, status := range []int{488, 481} {
		one, two := newHouse(t), newHouse(t)
		c := one.caller()
		leg, _ := one.connect(c, plainOffer())
		state := leg.State()
		one.stop()
		c.peer.to = two.addr
		again, err := two.door.Resume(context.Background(), state)
		if err != nil {
			t.Fatal(err)
		}
		c.respond(c.request(sip.INVITE), status, "", "")
		c.request(sip.ACK)
		c.ok(sip.BYE)
		s := two.signal(again, engine.SignalEnded)
		if s.Cause.SIPStatus != status {
			t.Errorf("%d: cause %+v", status, s.Cause)
		}
		two.empty()
	}
}

func TestResumeRubbish(t *testing.T) {
	h := newHouse(t)
	for _, state := range []string{
		"", "{}", `{"format":99}`, `{"format":1,"call_id":"x"}`,
		`{"format":1,"call_id":"x","local_tag":"a","remote_tag":"b","remote_target":"sip:a@b","media":{"agreed":true,"audio":5}}`,
	} {
		if _, err := h.door.Resume(context.Background(), []byte(state)); err == nil {
			t.Errorf("%q was resumed", state)
		}
	}
}
