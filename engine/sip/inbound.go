package sip

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// progressInterval is how often a provisional response is repeated, lest a proxy gives up (RFC 3261 13.3.1.1).
const progressInterval = time.Minute

// invite takes an INVITE out of any dialog (RFC 3261 13.3.1).
func (d *Door) invite(req *sip.Request, tx *transaction.Server) {
	trail := new(engine.Tracing)
	if d.o.Trail {
		trail.Note(entry(tx.Arrival()))
		d.follow(callIDOf(req), trail)
	}
	if !d.takeInvite(req, tx, trail) {
		d.unfollow(callIDOf(req), trail)
	}
}

// takeInvite is invite; false if no leg came of it.
func (d *Door) takeInvite(req *sip.Request, tx *transaction.Server, trail *engine.Tracing) bool {
	d.respond(tx, response(req, 100, ""))
	switch req.Recipient.Scheme {
	case "sip", "sips", "tel", "":
	default:
		d.reply(tx, 416)
		d.rejected(req, tx, engine.RuleUnsupported, 416, "the scheme of the address is none that we know")
		return false
	}
	if d.unsupported(req, tx, contentTypeSDP) {
		d.rejected(req, tx, engine.RuleUnsupported, 420, "it requires an extension, or has a body, that we do not know")
		return false
	}
	if fromTag(req) == "" || !usableContact(req.Contact()) {
		d.reply(tx, 400)
		d.rejected(req, tx, engine.RuleMalformed, 400, "it has no tag of its From, or no usable Contact")
		return false
	}
	timer, _, tooSmall := answerTimer(req, d.sessionExpires(), d.minSE())
	if tooSmall > 0 {
		d.reply(tx, 422, minSEHeader(tooSmall))
		return false
	}
	session, err := d.o.Media.Open(keyOf(callIDOf(req)))
	if err != nil {
		d.stats.refused.Add(1)
		d.log.Warn("no port for an inbound call", "error", err)
		d.reply(tx, 503, retryAfter())
		d.rejected(req, tx, engine.RuleLimit, 503, "this node has no RTP port left")
		return false
	}
	leg := d.inboundLeg(req, tx, session, timer)
	leg.trail = trail
	if !leg.takeOffer(req, tx) {
		session.Close()
		d.rejected(req, tx, engine.RuleNoCodec, 488, "it offers no audio in a codec that we speak, or cannot be read")
		return false
	}
	if !d.add(leg) {
		session.Close()
		d.reply(tx, 503)
		return false
	}
	leg.publish()
	if err := d.o.Accept(leg.incoming(req), leg); err != nil {
		status := d.refuse(leg, err)
		d.rejected(req, tx, engine.RuleOf(err), status, detailOf(err))
		return false
	}
	d.stats.began(leg)
	leg.listen()
	return true
}

// inboundLeg makes the leg of an INVITE: the dialog as the UAS sees it (RFC 3261 12.1.1).
func (d *Door) inboundLeg(req *sip.Request, tx *transaction.Server, session *rtp.Session, timer TimerState) *Leg {
	leg := d.newLeg(callIDOf(req), newTag(), true, session)
	leg.uas = tx
	s := &leg.state
	s.Key = keyOf(leg.callID)
	from, to := req.From(), req.To()
	s.Local, _ = withoutTag(to.DisplayName, to.Address, to.Params)
	s.Remote, s.RemoteTag = withoutTag(from.DisplayName, from.Address, from.Params)
	s.RemoteTarget = req.Contact().Address.String()
	s.RouteSet = recordedRoutes(req)
	s.LocalUser = contactUser(req.Recipient.User)
	s.RemoteCSeq = req.CSeq().SeqNo
	s.Transport, s.Source = tx.Transport(), tx.Source()
	s.Timer = timer
	s.Media = MediaState{SessionID: newSDPSession(), Version: 1}
	s.Media.Address = netip.AddrPortFrom(d.mediaAddress(tx.Target()), uint16(session.Port()))
	s.readPeer(req)
	return leg
}

// takeOffer negotiates the offer of the INVITE, if it has one; false if the INVITE was refused.
func (l *Leg) takeOffer(req *sip.Request, tx *transaction.Server) bool {
	if len(req.Body()) == 0 {
		return true // our 2xx offers, the ACK answers
	}
	m, err := l.state.Media.answer(req.Body(), l.codecs())
	if err != nil {
		l.door.stats.refused.Add(1)
		l.door.refuseOffer(tx, err)
		return false
	}
	l.state.Media = m
	return true
}

// refuseOffer answers a request whose offer we cannot take.
func (d *Door) refuseOffer(tx *transaction.Server, err error) {
	if errors.Is(err, errMalformedSDP) {
		d.reply(tx, 400)
		return
	}
	d.reply(tx, 488, sip.NewHeader("Warning", `304 tipring "Media type not available"`))
}

// incoming describes the call to the engine.
func (l *Leg) incoming(req *sip.Request) engine.Incoming {
	from, to := req.From(), req.Recipient
	in := engine.Incoming{
		From:      engine.Address{URI: sanitize(from.Address.String()), Name: sanitize(unescape(from.DisplayName))},
		To:        engine.Address{URI: sanitize(to.String())},
		Headers:   applicationHeaders(req),
		SIPCallID: sanitize(l.callID),
		Source:    l.state.Source.String(),
		Key:       l.state.Key,
	}
	if name := req.To().DisplayName; name != "" {
		in.To.Name = sanitize(unescape(name))
	}
	return in
}

// refuse answers a call that the engine did not take, and returns the status.
func (d *Door) refuse(l *Leg, err error) int {
	status := 500
	if e, ok := errors.AsType[*engine.Error](err); ok {
		status = statusOfCode(e.Code)
	}
	d.stats.refused.Add(1)
	d.log.Debug("inbound call refused", "sip_call_id", l.callID, "status", status, "error", err)
	l.enter(ended)
	close(l.signals)
	l.rtp.Close()
	l.forget()
	res := response(l.uas.Request(), status, l.localTag)
	if status == 503 {
		res.AppendHeader(retryAfter())
	}
	d.respond(l.uas, res)
	return status
}

// rejected tells of an INVITE that was refused.
func (d *Door) rejected(req *sip.Request, tx *transaction.Server, rule engine.Rule, status int, detail string) {
	if d.o.Rejected == nil {
		return
	}
	r := engine.Rejection{
		Rule: rule, SIPStatus: status, Detail: detail, To: sanitize(req.Recipient.String()), Source: tx.Source().String(),
		SIPCallID: sanitize(callIDOf(req)),
	}
	if from := req.From(); from != nil {
		r.From = sanitize(from.Address.String())
	}
	d.o.Rejected(r)
}

// detailOf is what customers may know of a refusal.
func detailOf(err error) string {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e.Message
	}
	return "a fault of ours: the log has it"
}

// keyOf is the session key of an inbound call: made of its Call-ID, so that every node finds the same.
func keyOf(callID string) string {
	sum := sha256.Sum256([]byte(callID))
	return strings.ToLower(base32.HexEncoding.EncodeToString(sum[:10]))
}

// contactUser is user if it can stand in our Contact as it is.
func contactUser(user string) string {
	if len(user) > 64 || strings.Trim(user, "+0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") != "" {
		return ""
	}
	return user
}

// ring sends 180, or with early our answer in a 183 so that the caller hears us.
func (l *Leg) ring(early bool) {
	if l.uas == nil || l.phase() != calling {
		return
	}
	status := 180
	if early {
		status = 183
	}
	res := l.response(l.uas.Request(), status)
	if early && l.state.Media.Agreed {
		l.setBody(res, l.state.Media.Local)
		if !l.early {
			l.early = true
			l.setMedia(l.state.Media)
		}
	}
	l.progress = res
	if l.door.respond(l.uas, res) {
		l.arm(progressInterval, l.ringOn)
	}
}

// ringOn repeats the last provisional response.
func (l *Leg) ringOn() {
	if l.uas != nil && l.progress != nil && l.door.respond(l.uas, l.progress) {
		l.arm(progressInterval, l.ringOn)
	}
}

// answer sends the 2xx, with our answer or, if the INVITE had no offer, with our offer.
func (l *Leg) answer() {
	if l.uas == nil || l.phase() != calling {
		return
	}
	l.stopTimer()
	tx := l.uas
	m := l.state.Media
	if !m.Agreed {
		next, err := m.offer(l.codecs())
		if err != nil {
			l.reject(engine.Cause{Reason: engine.ReasonInternal, Source: engine.SourceSystem})
			return
		}
		m, l.lateSDP = next, true
		l.state.Media = m
	}
	res := l.response(tx.Request(), 200)
	l.setBody(res, m.Local)
	l.confirmTimer(res, tx.Request())
	if !l.answered(tx, res) {
		return
	}
	l.enter(answering)
	if l.lateSDP || l.early {
		l.publish()
		return
	}
	l.setMedia(m)
}

// answered sends the 2xx to an INVITE and waits for its ACK.
func (l *Leg) answered(tx *transaction.Server, res *sip.Response) bool {
	if l.unacked != nil {
		l.unacked.Acked() // a later INVITE says that the 2xx arrived
	}
	l.uas = nil
	l.unacked, l.ackCSeq = tx, tx.Request().CSeq().SeqNo
	return l.door.respond(tx, res)
}

// response is a response of this leg, with Contact and what we allow.
func (l *Leg) response(req *sip.Request, status int) *sip.Response {
	res := response(req, status, l.localTag)
	if status > 100 && status < 300 {
		res.AppendHeader(l.door.contact(l.state.LocalUser, transaction.Target{Transport: l.state.Transport, Addr: l.state.Source}))
		res.AppendHeader(sip.NewHeader("Allow", methods))
		if status >= 200 {
			res.AppendHeader(sip.NewHeader("Supported", "timer"))
		}
	}
	return res
}

// setBody gives msg a session description.
func (l *Leg) setBody(msg sip.Message, body []byte) {
	kind := sip.ContentTypeHeader(contentTypeSDP)
	msg.AppendHeader(&kind)
	msg.SetBody(body)
}

// reject answers the INVITE with a failure and ends the leg.
func (l *Leg) reject(c engine.Cause) {
	tx := l.uas
	if c.SIPStatus < 300 || c.SIPStatus > 699 {
		c.SIPStatus = statusOf(c.Reason)
	}
	l.uas = nil
	res := response(tx.Request(), c.SIPStatus, l.localTag)
	if c.Text != "" {
		res.Reason = sanitize(c.Text)
	}
	if c.Q850 != 0 {
		res.AppendHeader(reasonHeader(c))
	}
	if c.SIPStatus == 503 {
		res.AppendHeader(retryAfter())
	}
	appendHeaders(res, c.Headers)
	l.door.respond(tx, res)
	l.end(c)
	l.forget()
}

// cancelled is the caller giving up (RFC 3261 9.2).
func (l *Leg) cancelled() {
	tx := l.uas
	l.uas = nil
	l.door.respond(tx, response(tx.Request(), 487, l.localTag))
	if l.phase() != calling {
		return // a re-INVITE was cancelled: the session goes on as it was
	}
	l.end(engine.Cause{Reason: engine.ReasonCancelled, Source: engine.SourceCaller, SIPStatus: 487})
	l.forget()
}

// ack is the ACK of a 2xx of ours. One that comes again is nothing new.
func (l *Leg) ack(req *sip.Request) {
	if l.unacked == nil || req.CSeq() == nil || req.CSeq().SeqNo != l.ackCSeq {
		return
	}
	l.unacked.Acked()
	l.unacked = nil
	late := l.lateSDP
	l.lateSDP = false
	if l.byeLater {
		l.byeLater = false
		l.bye(l.endCause)
		return
	}
	if l.phase() == ended {
		return
	}
	if late && !l.lateAnswer(req) {
		return
	}
	if l.phase() == answering {
		l.enter(talking)
		l.state.Confirmed = true
		l.publish()
		l.emit(engine.Signal{Kind: engine.SignalAnswered, Status: 200})
		l.tellHold()
		l.armSession()
	}
	l.sync()
}

// lateAnswer takes the answer in the ACK to an INVITE without an offer; without a usable one there is no session.
func (l *Leg) lateAnswer(req *sip.Request) bool {
	m, err := l.state.Media, errNoCodec
	if len(req.Body()) > 0 {
		m, err = l.state.Media.accept(req.Body())
	}
	if err != nil {
		l.log.Info("ACK without a usable answer", "error", err)
		c := engine.Cause{Reason: engine.ReasonNoCodec, Source: engine.SourceSystem, SIPStatus: 488}
		l.end(c)
		l.bye(c)
		return false
	}
	l.setMedia(m)
	return true
}

// lost is a final response that never arrived: without an ACK the session is ended (RFC 3261 13.3.1.4).
func (l *Leg) lost(tx *transaction.Server, err error) {
	if tx == l.uas { // the transport failed before there was a final response
		l.uas = nil
		l.end(engine.Cause{Reason: engine.ReasonUnreachable, Source: engine.SourceSystem, Text: err.Error()})
		l.forget()
		return
	}
	l.unacked, l.lateSDP, l.byeLater = nil, false, false
	c := engine.Cause{Reason: engine.ReasonNoACK, Source: engine.SourceSystem}
	l.end(c)
	l.bye(c)
}
