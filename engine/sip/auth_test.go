package sip

import (
	"context"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/tipring/tipring/engine"
)

func withCredentials(o *engine.Outgoing) {
	o.Credentials = &engine.Credentials{Username: "alice", Password: "s3cret"}
}

// verify checks the digest of req as a server would (RFC 7616 3.4).
func verify(t *testing.T, req *sip.Request, header, challenge string) *digest.Credentials {
	t.Helper()
	hs := req.GetHeaders(header)
	if len(hs) != 1 {
		t.Fatalf("%d %s headers\n%s", len(hs), header, req)
	}
	got, err := digest.ParseCredentials(hs[0].Value())
	if err != nil {
		t.Fatal(err)
	}
	chal, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	want, err := digest.Digest(chal, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Count: got.Nc, Cnonce: got.Cnonce,
		Username: "alice", Password: "s3cret",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Response != want.Response || got.URI != req.Recipient.String() || got.Nonce != chal.Nonce || got.Opaque != chal.Opaque {
		t.Errorf("credentials %+v, want %+v", got, want)
	}
	return got
}

// 407 of a proxy, then 401 of the callee: same Call-ID and From-tag, higher CSeq, new branch, both credentials; the
// digest-uri is the whole Request-URI; the ACK carries them, too.
func TestDigest401And407(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p, withCredentials, func(o *engine.Outgoing) { o.To.URI += ";user=phone" })
	const proxy = `Digest realm="proxy", nonce="n1", qop="auth, auth-int", algorithm=MD5, opaque="o"`
	const callee = `Digest realm="callee", nonce="n2", algorithm=SHA-256, qop="auth"`
	first := p.request(sip.INVITE)
	p.respond(first, 407, "x", "", "Proxy-Authenticate: "+proxy)
	p.request(sip.ACK)
	second := p.request(sip.INVITE)
	verify(t, second, "proxy-authorization", proxy)
	if *second.CallID() != *first.CallID() || fromTag(second) != fromTag(first) || second.CSeq().SeqNo <= first.CSeq().SeqNo ||
		second.Via().Params.GetOr("branch", "") == first.Via().Params.GetOr("branch", "") {
		t.Errorf("second INVITE\n%s", second)
	}
	p.respond(second, 401, "x", "", "WWW-Authenticate: "+callee)
	p.request(sip.ACK)
	third := p.request(sip.INVITE)
	if c := verify(t, third, "proxy-authorization", proxy); c.Nc != 2 {
		t.Errorf("the nonce of the proxy was used with nc %d, want 2", c.Nc)
	}
	verify(t, third, "authorization", callee)
	p.respond(third, 200, "calleetag", plainOffer())
	ack := p.request(sip.ACK)
	if header(ack, "Authorization") != header(third, "Authorization") || header(ack, "Proxy-Authorization") != header(third, "Proxy-Authorization") {
		t.Errorf("ACK\n%s", ack)
	}
	h.signal(leg, engine.SignalAnswered)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	bye := p.ok(sip.BYE) // with what is known already
	verify(t, bye, "authorization", callee)
	verify(t, bye, "proxy-authorization", proxy)
}

// The first challenge that we can answer is the one (RFC 8760 2.4; sipgo reads only the first).
func TestMultiChallenge(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	h.dial(p, withCredentials)
	const good = `Digest realm="r", nonce="sha", algorithm=SHA-256, qop="auth"`
	p.respond(p.request(sip.INVITE), 401, "x", "", `WWW-Authenticate: Digest realm="r", nonce="x", algorithm=AKAv1-MD5`,
		`WWW-Authenticate: Basic realm="r"`, "WWW-Authenticate: "+good,
		`WWW-Authenticate: Digest realm="r", nonce="md5", algorithm=MD5, qop="auth"`)
	p.request(sip.ACK)
	verify(t, p.request(sip.INVITE), "authorization", good)
}

func TestDigestRefusedAndStale(t *testing.T) {
	h := newHouse(t)
	for name, tt := range map[string]struct {
		second string
		again  bool
	}{
		"wrong password": {`Digest realm="r", nonce="n2", qop="auth"`, false},
		"stale nonce":    {`Digest realm="r", nonce="n2", qop="auth", stale=TRUE`, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, h.addr)
			leg := h.dial(p, withCredentials)
			p.respond(p.request(sip.INVITE), 401, "x", "", `WWW-Authenticate: Digest realm="r", nonce="n1", qop="auth"`)
			p.request(sip.ACK)
			p.respond(p.request(sip.INVITE), 401, "x", "", "WWW-Authenticate: "+tt.second)
			p.request(sip.ACK)
			if tt.again {
				verify(t, p.request(sip.INVITE), "authorization", tt.second)
				return
			}
			h.over(leg, engine.ReasonForbidden)
		})
	}
	t.Run("no credentials", func(t *testing.T) {
		p := newPeer(t, h.addr)
		leg := h.dial(p)
		p.respond(p.request(sip.INVITE), 407, "x", "", `Proxy-Authenticate: Digest realm="r", nonce="n1"`)
		p.request(sip.ACK)
		h.over(leg, engine.ReasonForbidden)
	})
}

// A far end that challenges our BYE with a realm that did not challenge the INVITE gets no credentials (the leak of
// ES2021-05); the realm of the call gets them.
func TestForeignRealm(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p, withCredentials)
	const good = `Digest realm="trunk", nonce="n1", qop="auth"`
	p.respond(p.request(sip.INVITE), 401, "x", "", "WWW-Authenticate: "+good)
	p.request(sip.ACK)
	invite := p.request(sip.INVITE)
	p.respond(invite, 200, "calleetag", plainOffer())
	p.request(sip.ACK)
	h.signal(leg, engine.SignalAnswered)
	if err := leg.Hold(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	hold := p.request(sip.INVITE)
	p.respond(hold, 401, "", "", `WWW-Authenticate: Digest realm="evil", nonce="n9", qop="auth"`)
	p.request(sip.ACK)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	bye := p.request(sip.BYE)
	verify(t, bye, "authorization", good)
	if strings.Contains(bye.String(), "evil") {
		t.Error("credentials for a foreign realm")
	}
}

// A BYE that is answered 100, then 401, is sent again with credentials (sipgo takes both for a failure).
func TestByeWith100And401(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p, withCredentials)
	p.answer(plainOffer())
	h.signal(leg, engine.SignalAnswered)
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	bye := p.request(sip.BYE)
	const challenge = `Digest realm="r", nonce="n", qop="auth"`
	p.respond(bye, 100, "", "")
	p.respond(bye, 401, "", "", "WWW-Authenticate: "+challenge)
	again := p.request(sip.BYE)
	verify(t, again, "authorization", challenge)
	if again.CSeq().SeqNo <= bye.CSeq().SeqNo {
		t.Errorf("CSeq %d after %d", again.CSeq().SeqNo, bye.CSeq().SeqNo)
	}
	p.respond(again, 200, "", "")
}

// A caller has no right to our credentials: inbound legs have none.
func TestInboundLegHasNoCredentials(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	c.respond(c.request(sip.BYE), 401, "", "", `WWW-Authenticate: Digest realm="r", nonce="n"`)
	h.empty() // given up, not sent again
}
