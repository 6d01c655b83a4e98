package sip

import (
	"errors"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// request takes a request of the far end in this dialog (RFC 3261 12.2.2).
func (l *Leg) request(req *sip.Request, tx *transaction.Server) {
	seq := req.CSeq().SeqNo
	if l.out == nil { // while forks ring, each counts for itself
		if l.state.RemoteCSeq != 0 && seq <= l.state.RemoteCSeq {
			l.reply(tx, 500)
			return
		}
		l.state.RemoteCSeq = seq
	}
	if l.phase() == ended && req.Method != sip.BYE && req.Method != sip.OPTIONS {
		l.reply(tx, 481)
		return
	}
	switch req.Method {
	case sip.INVITE:
		l.reinvited(req, tx)
	case sip.UPDATE:
		l.updated(req, tx)
	case sip.BYE:
		l.byeReceived(req, tx)
	case sip.INFO:
		l.info(req, tx)
	case sip.OPTIONS:
		l.door.respond(tx, l.door.capabilities(response(req, 200, l.localTag)))
	default:
		l.door.refuseMethod(req, tx)
	}
	l.publish()
}

// reply answers a request in the dialog.
func (l *Leg) reply(tx *transaction.Server, status int, headers ...sip.Header) {
	res := response(tx.Request(), status, l.localTag)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	l.door.respond(tx, res)
}

// byeReceived is the far end leaving (RFC 3261 15.1.2).
func (l *Leg) byeReceived(req *sip.Request, tx *transaction.Server) {
	if l.phase() == calling && !l.inbound {
		l.reply(tx, 481) // a callee cannot end what it did not answer
		return
	}
	l.reply(tx, 200)
	if l.uas != nil { // the INVITE is still open: it gets a final response, too
		l.reply(l.uas, 487)
		l.uas = nil
	}
	if l.unacked != nil {
		l.unacked.Acked()
		l.unacked = nil
	}
	c := engine.Cause{Reason: engine.ReasonNormal, Source: l.peer()}
	if l.phase() == calling {
		c.Reason = engine.ReasonCancelled
	}
	readReason(req, &c)
	l.byeLater, l.left = false, true
	l.end(c)
	l.forget()
}

// reinvited is a re-INVITE (RFC 3261 14.2): an offer, or the wish for ours. Whatever fails leaves the session as it is.
func (l *Leg) reinvited(req *sip.Request, tx *transaction.Server) {
	if l.phase() == calling || l.uas != nil {
		l.reply(tx, 500, retryAfter())
		return
	}
	if l.ours != nil || l.lateSDP {
		l.door.stats.glare.Add(1)
		l.reply(tx, 491)
		return
	}
	if l.door.unsupported(req, tx, contentTypeSDP) {
		return
	}
	timer, _, tooSmall := answerTimer(req, l.door.sessionExpires(), l.door.minSE())
	if tooSmall > 0 {
		l.reply(tx, 422, minSEHeader(tooSmall))
		return
	}
	m, late := l.state.Media, len(req.Body()) == 0
	var err error
	if late {
		m, err = m.offer(l.codecs())
	} else {
		m, err = m.answer(req.Body(), l.codecs())
	}
	if err != nil {
		l.door.refuseOffer(tx, err)
		return
	}
	l.refreshed(req, tx, timer)
	res := l.response(req, 200)
	l.setBody(res, m.Local)
	l.confirmTimer(res, req)
	if !l.answered(tx, res) {
		return
	}
	if late {
		l.state.Media, l.lateSDP = m, true
	} else {
		l.setMedia(m)
	}
	l.armSession()
}

// refreshed takes what a target refresh request changes.
func (l *Leg) refreshed(req *sip.Request, tx *transaction.Server, timer TimerState) {
	l.state.refreshTarget(req.Contact())
	l.state.readPeer(req)
	l.state.Source, l.state.Transport = tx.Source(), tx.Transport()
	l.state.Timer = timer
}

// updated is an UPDATE (RFC 3311), with an offer or only to refresh.
func (l *Leg) updated(req *sip.Request, tx *transaction.Server) {
	offered := len(req.Body()) > 0
	switch {
	case offered && l.phase() == calling && l.inbound:
		l.reply(tx, 500, retryAfter()) // the INVITE's offer has no answer yet (RFC 3311 5.2)
		return
	case offered && (l.phase() == calling || l.ours != nil || l.lateSDP):
		l.door.stats.glare.Add(1)
		l.reply(tx, 491) // our offer has none
		return
	}
	if l.door.unsupported(req, tx, contentTypeSDP) {
		return
	}
	timer, _, tooSmall := answerTimer(req, l.door.sessionExpires(), l.door.minSE())
	if tooSmall > 0 {
		l.reply(tx, 422, minSEHeader(tooSmall))
		return
	}
	m := l.state.Media
	if offered {
		var err error
		if m, err = m.answer(req.Body(), l.codecs()); err != nil {
			l.door.refuseOffer(tx, err)
			return
		}
	}
	l.refreshed(req, tx, timer)
	res := l.response(req, 200)
	if offered {
		l.setBody(res, m.Local)
	}
	l.confirmTimer(res, req)
	if !l.door.respond(tx, res) {
		return
	}
	if offered {
		l.setMedia(m)
	}
	if l.phase() == talking {
		l.armSession()
	}
}

// info is an INFO (RFC 6086): a key, or nothing that we know.
func (l *Leg) info(req *sip.Request, tx *transaction.Server) {
	if pkg := transaction.Header(req, "Info-Package"); pkg != "" && !strings.EqualFold(pkg, "dtmf") {
		l.reply(tx, 469, sip.NewHeader("Recv-Info", "dtmf"))
		return
	}
	if l.door.unsupported(req, tx, "application/dtmf-relay", "application/dtmf") {
		return
	}
	if len(req.Body()) == 0 {
		l.reply(tx, 200)
		return
	}
	digit, err := dtmf.ParseInfo(transaction.Header(req, "Content-Type"), req.Body())
	switch {
	case errors.Is(err, dtmf.ErrContentType):
		l.reply(tx, 415, sip.NewHeader("Accept", "application/dtmf-relay, application/dtmf"))
	case err != nil:
		l.reply(tx, 400)
	default:
		l.reply(tx, 200)
		l.press(digit)
	}
}
