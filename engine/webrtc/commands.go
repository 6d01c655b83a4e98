package webrtc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// resumeFor is how long a resume token serves.
const resumeFor = 5 * time.Minute

// do carries out a page's command.
func (d *Door) do(p *page, f *frameIn) (reply, error) {
	switch f.Action {
	case "call":
		return d.call(p, f)
	case "renew":
		return d.renew(p, f)
	}
	l, err := d.leg(p, f.CallID)
	if err != nil {
		return reply{}, err
	}
	if f.Action != "stats" {
		l.note(engine.TrailIn, f.Action, f.raw)
	}
	r, err := d.steer(p, l, f)
	if err != nil || r.SDP != "" {
		l.note(engine.TrailOut, "reply", replyTo(f, r, err))
	}
	return r, err
}

// steer carries out a page's command to a call.
func (d *Door) steer(p *page, l *Leg, f *frameIn) (reply, error) {
	switch f.Action {
	case "accept":
		return d.accept(p, l, f)
	case "ringing":
		l.ringing()
	case "reject":
		l.reject(p, f.Cause == "busy")
	case "hangup":
		return reply{}, l.leave()
	case "candidate":
		return reply{}, l.candidate(f)
	case "restart":
		return l.restart(f.SDP)
	case "resume":
		return d.resume(p, l, f)
	case "hold":
		return reply{}, l.hold(f.On)
	case "dtmf":
		return reply{}, l.press(f.Digits)
	case "transfer":
		return reply{}, d.transfer(p, l, f.To)
	case "mute", "stats":
	default:
		return reply{}, engine.Invalid("/action", "there is no action %.40q", f.Action)
	}
	return reply{}, nil
}

// call is a page that calls.
func (d *Door) call(p *page, f *frameIn) (reply, error) {
	c := p.may()
	if f.To == "" {
		return reply{}, engine.Invalid("/to", "is required: a number, an address, client:name or conference:name")
	}
	app, err := d.o.Route(context.Background(), c, f.To)
	if err != nil {
		return reply{}, err
	}
	prefer := d.wanted(app.Codecs)
	pr, sdp, err := d.answer(f.SDP, prefer)
	if err != nil {
		return reply{}, err
	}
	key := newID()
	l, err := d.newLeg(key, c.ProjectID, c.Identity, true, pr.ssrc)
	if err != nil {
		_ = pr.pc.Close()
		return reply{}, err
	}
	l.page = p
	l.note(engine.TrailIn, f.Action, f.raw)
	l.mu.Lock()
	l.adopt(pr)
	l.mu.Unlock()
	callID, err := d.o.Accept(engine.Incoming{
		From: engine.Address{URI: "client:" + c.Identity}, To: engine.Address{URI: f.To}, Headers: f.Headers, Key: key, Application: &app,
	}, l)
	if err != nil {
		l.rtp.Close()
		_ = pr.pc.Close()
		return reply{}, err
	}
	if !d.register(callID, l) {
		_ = l.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNodeLost, Source: engine.SourceSystem})
		return reply{}, engine.Errorf(engine.CodeCapacity, "this node is stopping")
	}
	r := replyTo(f, reply{CallID: callID, SDP: sdp, Resume: d.resumeToken(l, callID)}, nil)
	l.note(engine.TrailOut, "reply", r)
	p.answer(r)
	l.name(callID)
	return reply{}, errReplied
}

// adopt is carry for a session that was opened for the peer.
func (l *Leg) adopt(p *peer) {
	l.rtp.Carry(p, p.ssrc)
	l.carry(p)
}

// accept is a page that takes a call: the first one wins.
func (d *Door) accept(p *page, l *Leg, f *frameIn) (reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inbound || l.at != calling || l.peer != nil {
		return reply{}, errState("the call was taken elsewhere, or is over")
	}
	pr, sdp, err := d.answer(f.SDP, l.codecs)
	if err != nil {
		return reply{}, err
	}
	l.page, l.at = p, talking
	l.forgetRung(p, map[string]any{"cause": "answered_elsewhere", "source": "callee"})
	l.adopt(pr)
	l.emit(engine.Signal{Kind: engine.SignalAnswered})
	return reply{CallID: l.callID, SDP: sdp, Resume: d.resumeToken(l, l.callID)}, nil
}

// ringing tells the engine once that a page shows the call.
func (l *Leg) ringing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.inbound && l.at == calling && !l.told {
		l.told = true
		l.emit(engine.Signal{Kind: engine.SignalRinging, Status: 180})
	}
}

// reject is a page that does not take a call; when all have, it is over.
func (l *Leg) reject(p *page, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inbound || l.at != calling {
		return
	}
	l.busy = l.busy || busy
	rest := l.rung[:0]
	for _, q := range l.rung {
		if q != p {
			rest = append(rest, q)
		}
	}
	if l.rung = rest; len(rest) > 0 {
		return
	}
	c := engine.Cause{Reason: engine.ReasonRejected, Source: engine.SourceCallee, SIPStatus: 603}
	if l.busy {
		c.Reason, c.SIPStatus = engine.ReasonBusy, 486
	}
	l.end(c)
}

// leave is a page that hangs up.
func (l *Leg) leave() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == ended {
		return errState("the call is over")
	}
	c := engine.Cause{Reason: engine.ReasonNormal, Source: l.source()}
	if l.at == calling {
		c.Reason = engine.ReasonCancelled
	}
	l.end(c)
	return nil
}

func (l *Leg) candidate(f *frameIn) error {
	l.mu.Lock()
	p := l.peer
	l.mu.Unlock()
	if p == nil || f.Candidate == nil {
		return nil // the end of candidates
	}
	if len(f.Candidate.Candidate) > 1024 {
		return engine.Invalid("/candidate", "is longer than 1024 bytes")
	}
	if err := p.pc.AddICECandidate(*f.Candidate); err != nil {
		return engine.Invalid("/candidate", "%v", err)
	}
	return nil
}

// restart answers another offer of the same peer connection.
func (l *Leg) restart(offer string) (reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peer == nil || l.at == ended {
		return reply{}, errState("the call has no connection to restart")
	}
	sdp, err := l.peer.negotiate(offer, func() error { return nil })
	return reply{CallID: l.callID, SDP: sdp}, err
}

// resume gives a call another peer connection: its page has lost the one before.
func (d *Door) resume(p *page, l *Leg, f *frameIn) (reply, error) {
	if !d.resumes(l, f.CallID, f.Resume) {
		return reply{}, engine.Errorf(codeForbidden, "the resume token is not that of this call, or too old")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == ended || l.peer == nil {
		return reply{}, errState("the call is over")
	}
	pr, sdp, err := d.answer(f.SDP, l.codecs)
	if err != nil {
		return reply{}, err
	}
	l.page = p
	l.adopt(pr)
	l.tell("call.resumed", map[string]any{"node": d.o.Node})
	return reply{CallID: l.callID, SDP: sdp, Resume: d.resumeToken(l, l.callID)}, nil
}

// hold is a page that puts the other side on hold: nothing of it is passed on until it takes it back.
func (l *Leg) hold(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at != talking {
		return errState("only an answered call can be held")
	}
	l.rtp.Mute(media.In, on)
	kind := engine.SignalUnheld
	if on {
		kind = engine.SignalHeld
	}
	l.emit(engine.Signal{Kind: kind})
	return nil
}

// transfer is a page that connects the other side with somebody else, and leaves.
func (d *Door) transfer(p *page, l *Leg, to string) error {
	c := p.may()
	switch {
	case d.o.Transfer == nil:
		return engine.Errorf(engine.CodeUnsupported, "this node transfers no calls of pages")
	case to == "":
		return engine.Invalid("/to", "is required: whom the other side is to talk to")
	case !c.MayCall(to):
		return engine.Errorf(codeForbidden, "the token does not allow calls to %q", to)
	}
	l.mu.Lock()
	callID, at := l.callID, l.at
	l.transferred = true // its own program may end it first
	l.mu.Unlock()
	err := errState("only an answered call can be transferred")
	if at == talking {
		err = d.o.Transfer(context.Background(), c.ProjectID, callID, to)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.transferred = false
		return err
	}
	l.end(engine.Cause{Reason: engine.ReasonNormal, Source: l.source()})
	return nil
}

// press is keys that a page sends by a command, because its browser cannot send them in the audio.
func (l *Leg) press(digits string) error {
	if err := dtmf.CheckDigits(digits); err != nil || len(digits) > 64 {
		return engine.Invalid("/digits", "are up to 64 of 0-9, *, #, A-D")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at != talking {
		return errState("only an answered call takes keys")
	}
	for i := range len(digits) {
		if k := strings.ToUpper(digits[i : i+1]); k != "W" {
			l.emit(engine.Signal{Kind: engine.SignalDigit, Digit: dtmf.Digit{Key: k[0], Method: dtmf.Info}})
		}
	}
	return nil
}

// renew gives a page a new token; what it has goes on.
func (d *Door) renew(p *page, f *frameIn) (reply, error) {
	c, err := d.verify(f.Token)
	if err != nil {
		return reply{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Identity != p.claims.Identity || c.ProjectID != p.claims.ProjectID {
		return reply{}, engine.Errorf(codeForbidden, "the token is somebody else's")
	}
	p.claims = c
	at := c.ExpiresAt.UTC()
	return reply{ExpiresAt: &at}, nil
}

// resumeToken proves that who shows it was given the call: a time and a code over it, the call and its page.
func (d *Door) resumeToken(l *Leg, callID string) string {
	until := strconv.FormatInt(time.Now().Add(resumeFor).Unix(), 36)
	return until + "." + d.code(l, callID, until)
}

func (d *Door) resumes(l *Leg, callID, t string) bool {
	until, code, _ := strings.Cut(t, ".")
	at, err := strconv.ParseInt(until, 36, 64)
	return err == nil && time.Now().Unix() < at && hmac.Equal([]byte(code), []byte(d.code(l, callID, until)))
}

func (d *Door) code(l *Leg, callID, until string) string {
	m := hmac.New(sha256.New, d.seal[:])
	fmt.Fprintf(m, "%s\n%s\n%s\n%s", callID, l.project, l.identity, until)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}
