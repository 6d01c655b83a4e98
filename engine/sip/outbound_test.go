package sip

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

func TestOutboundCall(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p, func(o *engine.Outgoing) {
		o.From.Name = `Al "the" Ice\`
		o.Headers = map[string]string{"X-Tenant": "7", "P-Asserted-Identity": "<sip:+4930@example.com>"}
	})
	invite := p.request(sip.INVITE)
	if !strings.HasPrefix(string(*invite.CallID()), "k1-") {
		t.Errorf("Call-ID %s does not begin with the session's key", *invite.CallID())
	}
	if from := invite.From(); unescape(from.DisplayName) != `Al "the" Ice\` || from.Address.String() != "sip:alice@example.com" {
		t.Errorf("From %s", from)
	}
	if invite.Recipient.String() != "sip:bob@"+p.addr.String() || header(invite, "X-Tenant") != "7" ||
		header(invite, "Supported") != "timer" || header(invite, "Session-Expires") != "1800" || header(invite, "Max-Forwards") == "" {
		t.Errorf("INVITE\n%s", invite)
	}
	d := described(t, invite)
	if names := formatNames(d.line().codecs); names != "PCMU PCMA opus G722 telephone-event telephone-event" || d.line().direction != sendrecv {
		t.Errorf("offer\n%s", invite.Body())
	}
	p.respond(invite, 100, "", "")
	p.respond(invite, 180, "calleetag", "")
	if s := h.signal(leg, engine.SignalRinging); s.Status != 180 {
		t.Errorf("%+v", s)
	}
	p.respond(invite, 200, "calleetag", sdpText(1, 40000, "8 101", "a=rtpmap:101 telephone-event/8000"), "Allow: INVITE, BYE")
	ack := p.request(sip.ACK)
	if ack.CSeq().SeqNo != invite.CSeq().SeqNo || toTag(ack) != "calleetag" || ack.Recipient.User != "peer" {
		t.Errorf("ACK\n%s", ack)
	}
	if ack.Via().Params.GetOr("branch", "") == invite.Via().Params.GetOr("branch", "") {
		t.Error("the ACK of a 2xx has the INVITE's branch (RFC 3261 8.1.1.7)")
	}
	h.signal(leg, engine.SignalAnswered)
	if c := leg.Audio().Codec(); c.Name != "PCMA" {
		eventually(t, "the answered codec is in use", func() bool { return leg.Audio().Codec().Name == "PCMA" })
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceApp}); err != nil {
		t.Fatal(err)
	}
	if cause := h.over(leg, engine.ReasonNormal); cause.Q850 != 16 {
		t.Errorf("cause %+v", cause)
	}
	bye := p.ok(sip.BYE)
	if bye.CSeq().SeqNo <= invite.CSeq().SeqNo || header(bye, "Reason") != "Q.850;cause=16" {
		t.Errorf("BYE\n%s", bye)
	}
}

func TestDialRefusals(t *testing.T) {
	h := newHouse(t)
	for name, tt := range map[string]struct {
		out  engine.Outgoing
		code engine.Code
	}{
		"number":         {engine.Outgoing{To: engine.Address{URI: "+4930123"}}, engine.CodeNoRoute},
		"TLS":            {engine.Outgoing{To: engine.Address{URI: "sips:a@example.com"}}, engine.CodeNoRoute},
		"no host":        {engine.Outgoing{To: engine.Address{URI: "sip:"}}, engine.CodeValidation},
		"line break":     {engine.Outgoing{To: engine.Address{URI: "sip:a@b\r\nX: y"}}, engine.CodeValidation},
		"Via":            {engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1"}, Headers: map[string]string{"Via": "x"}}, engine.CodeValidation},
		"compact Via":    {engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1"}, Headers: map[string]string{"v": "x"}}, engine.CodeValidation},
		"header break":   {engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1"}, Headers: map[string]string{"X-A": "x\r\nVia: y"}}, engine.CodeValidation},
		"name of header": {engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1"}, Headers: map[string]string{"X A": "x"}}, engine.CodeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.door.Dial(context.Background(), tt.out); engine.ErrorCode(err) != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
	h.empty()
}

func TestFromForms(t *testing.T) {
	h := newHouse(t)
	for from, want := range map[string]string{
		"+4930123":             "sip:+4930123@" + h.addr.String() + ";user=phone",
		"client:ann lee":       "sip:ann%20lee@" + h.addr.String(),
		"sip:x@y.example?a=b":  "sip:x@y.example",
		"":                     "sip:anonymous@anonymous.invalid",
		"sip:bad\r\nhost@x y ": "", // whatever it becomes, it is one line
	} {
		p := newPeer(t, h.addr)
		leg := h.dial(p, func(o *engine.Outgoing) { o.From = engine.Address{URI: from} })
		invite := p.request(sip.INVITE)
		if got := invite.From().Address.String(); want != "" && got != want {
			t.Errorf("From of %q is %q, want %q", from, got, want)
		}
		p.respond(invite, 486, "x", "")
		p.request(sip.ACK)
		h.over(leg, engine.ReasonBusy)
	}
	h.empty()
}

func TestOutboundFailures(t *testing.T) {
	h := newHouse(t)
	for status, reason := range map[int]engine.Reason{
		404: engine.ReasonNotFound, 480: engine.ReasonUnavailable, 486: engine.ReasonBusy, 603: engine.ReasonRejected,
		403: engine.ReasonForbidden, 408: engine.ReasonNoAnswer, 488: engine.ReasonNoCodec, 500: engine.ReasonUnavailable,
		502: engine.ReasonUnreachable, 487: engine.ReasonCancelled, 401: engine.ReasonForbidden, 300: engine.ReasonUnreachable,
		422: engine.ReasonRejected, 491: engine.ReasonRejected, 699: engine.ReasonRejected,
	} {
		p := newPeer(t, h.addr)
		leg := h.dial(p)
		invite := p.request(sip.INVITE)
		p.respond(invite, status, "x", "", `Reason: Q.850;cause=21;text="because"`)
		if ack := p.request(sip.ACK); ack.Via().Params.GetOr("branch", "") != invite.Via().Params.GetOr("branch", "") {
			t.Error("the ACK of a failure has another branch (RFC 3261 17.1.1.3)")
		}
		if c := h.over(leg, reason); c.SIPStatus != status || c.Source != engine.SourceCallee || c.Q850 != 21 || c.Text != "because" {
			t.Errorf("%d: cause %+v", status, c)
		}
	}
	h.empty()
}

func TestUnreachable(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.layer.T1 = 5 * time.Millisecond })
	p := newPeer(t, h.addr) // silent
	leg := h.dial(p)
	if c := h.over(leg, engine.ReasonUnreachable); c.Source != engine.SourceSystem {
		t.Errorf("cause %+v", c)
	}
	leg = h.dial(p, func(o *engine.Outgoing) { o.To.URI = "sip:a@no-such-host.invalid" })
	h.over(leg, engine.ReasonUnreachable)
	h.empty()
}

func TestHangupWhileRinging(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	invite := p.request(sip.INVITE)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonCancelled, SIPStatus: 200}); err != nil {
		t.Fatal(err)
	}
	h.over(leg, engine.ReasonCancelled)
	p.respond(invite, 180, "calleetag", "") // the CANCEL had to wait for it (RFC 3261 9.1)
	cancel := p.request(sip.CANCEL)
	if cancel.Via().Params.GetOr("branch", "") != invite.Via().Params.GetOr("branch", "") ||
		!strings.Contains(header(cancel, "Reason"), "Call completed elsewhere") {
		t.Errorf("CANCEL\n%s", cancel)
	}
	p.respond(cancel, 200, "calleetag", "")
	p.respond(invite, 487, "calleetag", "")
	p.request(sip.ACK)
	h.empty()
}

// The 200 wins the race against our CANCEL: it is acknowledged and ended over its route set (defect S3 of sipgo).
func TestCancelGets200(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	invite := p.request(sip.INVITE)
	p.respond(invite, 180, "calleetag", "")
	h.signal(leg, engine.SignalRinging)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNoAnswer}); err != nil {
		t.Fatal(err)
	}
	h.over(leg, engine.ReasonNoAnswer)
	cancel := p.request(sip.CANCEL)
	proxy := newPeer(t, h.addr)
	p.respond(invite, 200, "calleetag", plainOffer(), "Record-Route: <sip:far.example;lr>", "Record-Route: <sip:"+proxy.addr.String()+";lr>")
	p.respond(cancel, 200, "calleetag", "")
	ack := proxy.request(sip.ACK)
	want := "<sip:" + proxy.addr.String() + ";lr> <sip:far.example;lr>"
	if routesOf(ack) != want {
		t.Errorf("ACK goes by %s, want %s", routesOf(ack), want)
	}
	if bye := proxy.ok(sip.BYE); routesOf(bye) != want || toTag(bye) != "calleetag" {
		t.Errorf("BYE\n%s", bye)
	}
}

// A second 2xx of another fork is acknowledged in its own dialog and ended (defect S7 of sipgo).
func TestForked2xx(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	invite := p.request(sip.INVITE)
	p.respond(invite, 200, "one", plainOffer())
	if ack := p.request(sip.ACK); toTag(ack) != "one" {
		t.Errorf("ACK\n%s", ack)
	}
	h.signal(leg, engine.SignalAnswered)
	other := newPeer(t, h.addr)
	contact := "Contact: <sip:two@" + other.addr.String() + ">"
	p.respond(invite, 200, "two", plainOffer(), contact)
	if ack := other.request(sip.ACK); toTag(ack) != "two" || ack.CSeq().SeqNo != invite.CSeq().SeqNo {
		t.Errorf("ACK\n%s", ack)
	}
	bye := other.request(sip.BYE)
	if toTag(bye) != "two" || bye.Recipient.User != "two" {
		t.Errorf("BYE\n%s", bye)
	}
	other.respond(bye, 200, "", "")
	p.respond(invite, 200, "two", plainOffer(), contact) // again: only the ACK
	if msg, n := other.read(); n != 2 || msg.(*sip.Request).Method != sip.ACK {
		t.Errorf("got\n%s", msg)
	}
	p.respond(invite, 200, "one", plainOffer())
	if msg, n := p.read(); n != 2 || msg.(*sip.Request).Method != sip.ACK {
		t.Errorf("got\n%s", msg)
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	if bye := p.ok(sip.BYE); toTag(bye) != "one" {
		t.Errorf("BYE\n%s", bye)
	}
	if h.door.Stats().Forks != 1 {
		t.Errorf("stats %+v", h.door.Stats())
	}
}

// Early media per fork: the description that came last is heard, 180 does not stop it, our port stays.
func TestEarlyMediaForks(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	invite := p.request(sip.INVITE)
	port := described(t, invite).line().port
	remote := func(want string) {
		t.Helper()
		eventually(t, "media goes to "+want, func() bool {
			var s DialogState
			if l, ok := leg.(*Leg); ok {
				s = *l.snapshot.Load()
			}
			return s.Media.RemoteAddr.String() == want
		})
	}
	p.respond(invite, 183, "one", sdpText(1, 41000, "0"))
	if s := h.signal(leg, engine.SignalEarlyMedia); s.Status != 183 {
		t.Errorf("%+v", s)
	}
	remote("127.0.0.1:41000")
	p.respond(invite, 183, "two", sdpText(1, 42000, "8"))
	remote("127.0.0.1:42000")
	p.respond(invite, 180, "one", "")
	h.signal(leg, engine.SignalRinging)
	remote("127.0.0.1:42000")
	p.respond(invite, 200, "one", "") // its answer was in the 183
	p.request(sip.ACK)
	h.signal(leg, engine.SignalAnswered)
	remote("127.0.0.1:41000")
	s, err := decodeState(leg.State())
	if err != nil || int(s.Media.Address.Port()) != port {
		t.Errorf("our port is %v, was %d", s.Media.Address, port)
	}
}

func TestAnsweredWithoutMedia(t *testing.T) {
	for name, body := range map[string]string{"none": "", "codec": sdpText(1, 40000, "18"), "refused": sdpText(1, 0, "0"), "rubbish": "v=0"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := newPeer(t, h.addr)
			leg := h.dial(p)
			p.answer(body)
			p.ok(sip.BYE)
			h.over(leg, engine.ReasonNoCodec)
		})
	}
}

// A strict router is the Request-URI, the target the last route (RFC 3261 12.2.1.1).
func TestStrictRoute(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	proxy := newPeer(t, h.addr)
	strict := "sip:" + proxy.addr.String()
	invite := p.request(sip.INVITE)
	p.respond(invite, 200, "calleetag", plainOffer(), "Record-Route: <sip:far.example;lr>", "Record-Route: <"+strict+">")
	ack := proxy.request(sip.ACK)
	want := "<sip:far.example;lr> <sip:peer@" + p.addr.String() + ">"
	if ack.Recipient.String() != strict || routesOf(ack) != want {
		t.Errorf("ACK\n%s", ack)
	}
	h.signal(leg, engine.SignalAnswered)
}

// The callee's requests find the dialog, and its BYE ends it.
func TestCalleeRequests(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	c := p.callee(p.answer(plainOffer()))
	h.signal(leg, engine.SignalAnswered)
	c.send("INVITE", sdpText(2, 40000, "0", "a=sendonly"))
	if d := described(t, c.response(200)); d.line().direction != recvonly {
		t.Errorf("answered %s", d.line().direction)
	}
	c.ack("")
	h.signal(leg, engine.SignalHeld)
	c.send("BYE", "", `Reason: SIP;cause=486, Q.850;cause=17`)
	c.response(200)
	if cause := h.over(leg, engine.ReasonBusy); cause.Source != engine.SourceCallee || cause.Q850 != 17 || cause.SIPStatus != 486 {
		t.Errorf("cause %+v", cause)
	}
}

func TestRedirect(t *testing.T) {
	h := newHouse(t)
	p, a, b := newPeer(t, h.addr), newPeer(t, h.addr), newPeer(t, h.addr)
	leg := h.dial(p)
	first := p.request(sip.INVITE)
	p.respond(first, 302, "x", "", "Contact: <sip:a@"+a.addr.String()+"?X=y>;q=0.3, <mailto:x@y>",
		"Contact: <sip:b@"+b.addr.String()+">;q=0.8", "Contact: <sip:bob@"+p.addr.String()+">;q=0.9")
	p.request(sip.ACK)
	second := b.request(sip.INVITE) // the best that was not tried yet
	if string(*second.CallID()) != string(*first.CallID()) || fromTag(second) != fromTag(first) ||
		second.CSeq().SeqNo != first.CSeq().SeqNo+1 && second.CSeq().SeqNo <= first.CSeq().SeqNo || toTag(second) != "" {
		t.Errorf("second INVITE\n%s", second)
	}
	b.respond(second, 486, "x", "")
	b.request(sip.ACK)
	third := a.request(sip.INVITE)
	if third.Recipient.String() != "sip:a@"+a.addr.String() {
		t.Errorf("Request-URI %s", third.Recipient.String())
	}
	a.respond(third, 200, "atag", plainOffer())
	a.request(sip.ACK)
	h.signal(leg, engine.SignalAnswered)
}

func TestRedirectLimits(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p)
	for i := range 4 { // the first and three hops
		invite := p.request(sip.INVITE)
		p.respond(invite, 302, "x", "", "Contact: <sip:"+strings.Repeat("n", i+1)+"@"+p.addr.String()+">")
		p.request(sip.ACK)
	}
	if c := h.over(leg, engine.ReasonUnreachable); c.SIPStatus != 302 {
		t.Errorf("cause %+v", c)
	}
	h.empty()
}
