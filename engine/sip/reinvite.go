package sip

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

const (
	statusIntervalTooSmall = 422 // RFC 4028 6
	maxModifies            = 6   // tries of one re-INVITE
	resumeTries            = 3   // of a leg that moved, before it is given up
)

// reinvite is a request of ours that changes or refreshes the session.
type reinvite struct {
	media   MediaState // with our offer
	refresh bool       // of the session timer only
	update  bool       // UPDATE without a session description
	resume  bool       // the leg came from another node: it lives or ends by the answer
}

// sync does what the leg still has to: hold or take back, then refresh. One INVITE runs in a dialog at a time, in
// either direction (RFC 3261 14.1), so it is called again whenever one has ended.
func (l *Leg) sync() {
	if l.phase() != talking || l.ours != nil || l.again != nil || l.unacked != nil {
		return
	}
	m := l.state.Media
	switch {
	case l.hold != m.Hold:
		m.Hold = l.hold
		next, err := m.offer(l.codecs())
		if err != nil {
			l.log.Error("no offer", "error", err)
			return
		}
		l.modify(&reinvite{media: next})
	case l.due:
		l.due = false
		l.modify(&reinvite{media: m, refresh: true, update: l.state.peerAllows(sip.UPDATE)})
	}
}

// modify sends r.
func (l *Leg) modify(r *reinvite) {
	l.ours = r
	l.tries++
	method := sip.INVITE
	if r.update {
		method = sip.UPDATE
	}
	l.send(&l.state, method, func(req *sip.Request) {
		req.AppendHeader(l.door.contact(l.state.LocalUser, transaction.Target{Transport: l.state.Transport, Addr: l.state.Source}))
		req.AppendHeader(sip.NewHeader("Allow", methods))
		req.AppendHeader(sip.NewHeader("Supported", "timer"))
		if t := l.state.Timer; t.Seconds > 0 {
			asked := sessionExpires{seconds: t.Seconds, refresher: "uas"}
			if t.Ours {
				asked.refresher = "uac"
			}
			req.AppendHeader(asked.header())
			req.AppendHeader(minSEHeader(max(t.MinSE, l.door.minSE())))
		}
		if !r.update {
			l.setBody(req, r.media.Local)
		}
	}, func(req *sip.Request, res *sip.Response, err error) {
		l.ours = nil
		if err == nil && res.IsSuccess() {
			l.modified(r, req, res)
		} else {
			l.notModified(r, res, err)
		}
		l.sync()
	})
}

// modified is the 2xx to r.
func (l *Leg) modified(r *reinvite, req *sip.Request, res *sip.Response) {
	l.tries = 0
	l.state.refreshTarget(res.Contact())
	l.state.readPeer(res)
	if !r.update {
		l.lastOK = l.sendACK(&l.state, req)
	}
	if l.phase() == ended {
		return
	}
	seconds := l.state.Timer.Seconds
	if seconds > 0 {
		asked := sessionExpires{seconds: seconds}
		l.state.Timer = acceptTimer(res, asked, l.state.Timer.MinSE)
		l.armSession()
	}
	if r.update {
		l.publish()
		return
	}
	m, err := r.media.accept(res.Body())
	if err != nil {
		l.log.Info("re-INVITE without a usable answer", "error", err)
		l.dropDialog(engine.Cause{Reason: engine.ReasonNoCodec, Source: engine.SourceSystem, SIPStatus: 488})
		return
	}
	l.setMedia(m)
	if r.resume {
		l.emit(engine.Signal{Kind: engine.SignalAnswered, Status: res.StatusCode})
		l.tellHold()
	}
}

// notModified is a failure of r: the session stays as it was, unless the dialog is gone (RFC 3261 14.1).
func (l *Leg) notModified(r *reinvite, res *sip.Response, err error) {
	switch {
	case l.phase() == ended:
	case err != nil:
		l.resumeOrDrop(r, engine.Cause{Reason: engine.ReasonUnreachable, Source: engine.SourceSystem, Text: "the far end does not answer"})
	case res.StatusCode == 491 && l.tries < maxModifies:
		l.door.stats.glare.Add(1)
		l.retry(r, glareDelay(l.inbound))
	case res.StatusCode == 408 && r.resume:
		l.resumeOrDrop(r, causeOf(res))
	case l.gone(res):
	case res.StatusCode == statusIntervalTooSmall && readMinSE(res) > l.state.Timer.Seconds && l.tries < maxModifies:
		l.state.Timer.Seconds = readMinSE(res)
		l.state.Timer.MinSE = readMinSE(res)
		l.retry(r, 0)
	case res.StatusCode == 500 && retryAfterOf(res) >= 0 && l.tries < maxModifies:
		l.retry(r, time.Duration(retryAfterOf(res))*time.Second)
	case r.resume && res.StatusCode >= 500 && res.StatusCode < 600:
		l.resumeOrDrop(r, causeOf(res))
	case r.resume:
		l.dropDialog(causeOf(res))
	case r.update && (res.StatusCode == 405 || res.StatusCode == 501):
		l.state.Allow = without(l.state.Allow, sip.UPDATE)
		l.due = true
	default:
		l.tries = 0
		l.log.Info("the far end refused a change of the session", "status", res.StatusCode)
		l.hold = l.state.Media.Hold
	}
}

// resumeOrDrop tries a leg that moved again; others end.
func (l *Leg) resumeOrDrop(r *reinvite, c engine.Cause) {
	if r.resume && l.tries < resumeTries {
		l.retry(r, time.Second)
		return
	}
	l.dropDialog(c)
}

// retry does after d what r was for, if it is still wanted by then.
func (l *Leg) retry(r *reinvite, d time.Duration) {
	l.again = r
	l.door.layer.After(l.callID, d, func() {
		if l.again != r {
			return
		}
		l.again = nil
		l.due = l.due || r.refresh
		switch {
		case l.phase() != talking:
		case !r.resume:
			l.sync()
		case l.unacked != nil: // the far end's INVITE came first
			l.retry(r, glareDelay(true))
		default:
			l.modify(r)
		}
	})
}

// glareDelay is how long to wait after a 491: the owner of the Call-ID waits longer (RFC 3261 14.1).
func glareDelay(inbound bool) time.Duration {
	const unit = 10 * time.Millisecond
	if inbound {
		return time.Duration(rand.IntN(201)) * unit //nolint:gosec // spreads retries, guards nothing
	}
	return 2100*time.Millisecond + time.Duration(rand.IntN(191))*unit //nolint:gosec // as above
}

// retryAfterOf is the Retry-After of res in seconds, at most maxRetryAfter; -1 if it has none.
func retryAfterOf(res *sip.Response) int {
	v := transaction.Header(res, "Retry-After")
	if i := strings.IndexAny(v, " ;("); i >= 0 {
		v = v[:i]
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return -1
	}
	return min(n, maxRetryAfter)
}

func without(list []string, method sip.RequestMethod) []string {
	var kept []string
	for _, m := range list {
		if !strings.EqualFold(m, string(method)) {
			kept = append(kept, m)
		}
	}
	return kept
}

// armSession starts the session timer anew (RFC 4028 7.4, 10): who refreshes does it at half of the interval, and a
// session that was not refreshed ends before it expires.
func (l *Leg) armSession() {
	t := l.state.Timer
	l.due = false
	switch {
	case l.phase() != talking:
	case t.Seconds == 0:
		l.stopTimer()
	case t.Ours:
		l.arm(t.refreshAfter(), func() {
			l.due = true
			l.arm(t.expireAfter()-t.refreshAfter(), l.expire)
			l.sync()
		})
	default:
		l.arm(t.expireAfter(), l.expire)
	}
}

// expire ends a session that nobody refreshed.
func (l *Leg) expire() {
	l.dropDialog(engine.Cause{Reason: engine.ReasonSessionTimer, Source: engine.SourceSystem, Text: "session timer expired"})
}

// confirmTimer puts the session timer into a 2xx to req (RFC 4028 9).
func (l *Leg) confirmTimer(res *sip.Response, req *sip.Request) {
	t := l.state.Timer
	if t.Seconds == 0 {
		return
	}
	refresher := "uac"
	if t.Ours {
		refresher = "uas"
	}
	res.AppendHeader(sessionExpires{seconds: t.Seconds, refresher: refresher}.header())
	if hasToken(req, "Supported", "timer") {
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
}

func (d *Door) sessionExpires() sessionExpires {
	return sessionExpires{seconds: int(d.o.SessionExpires / time.Second)}
}

func (d *Door) minSE() int { return int(d.o.MinSE / time.Second) }
