package sip

import (
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// maxTries is how often a request in the dialog is sent because of digest challenges.
const maxTries = 4

// exchange is one request of ours in a dialog, with all that its challenges make of it.
type exchange struct {
	state    *DialogState
	method   sip.RequestMethod
	build    func(*sip.Request)
	done     func(*sip.Request, *sip.Response, error)
	answered map[string]bool
	tries    int
}

// send sends a request in the dialog s and calls done once, in the lane, with the final response or an error. build
// adds what the request carries; it is called for each try.
func (l *Leg) send(s *DialogState, method sip.RequestMethod, build func(*sip.Request), done func(*sip.Request, *sip.Response, error)) {
	x := &exchange{state: s, method: method, build: build, done: done, answered: map[string]bool{}}
	l.findHop(s, func(to transaction.Target, err error) {
		if err != nil {
			done(nil, nil, err)
			return
		}
		l.try(x, to)
	})
}

// try sends x once more.
func (l *Leg) try(x *exchange, to transaction.Target) {
	x.tries++
	s := x.state
	s.LocalCSeq = nextCSeq(s.LocalCSeq, time.Now())
	if x.method == sip.INVITE {
		s.InviteCSeq = s.LocalCSeq
	}
	req, err := s.request(x.method, s.LocalCSeq)
	if err != nil {
		x.done(nil, nil, err)
		return
	}
	x.build(req)
	if err := l.auth.authorize(req); err != nil {
		x.done(req, nil, err)
		return
	}
	if s == &l.state {
		l.publish()
	}
	_, err = l.door.layer.Request(req, to, func(res *sip.Response, err error) {
		switch {
		case err == nil && res.IsProvisional():
		case err == nil && x.tries < maxTries &&
			(res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired):
			if err := l.auth.challenged(res, x.answered); err != nil {
				l.log.Info("challenge not answered", "method", x.method, "error", err)
				x.done(req, res, nil)
				return
			}
			l.try(x, to)
		default:
			x.done(req, res, err)
		}
	})
	if err != nil {
		x.done(req, nil, err)
	}
}

// findHop finds where the next request of s goes and calls f in the lane. It asks the resolver once for each target.
func (l *Leg) findHop(s *DialogState, f func(transaction.Target, error)) {
	uri, err := s.hop()
	if err != nil {
		f(transaction.Target{}, err)
		return
	}
	if to, ok := s.behindNAT(uri); ok {
		f(to, nil)
		return
	}
	key := uri.String()
	own := s == &l.state
	if own && l.hopURI == key && l.hopVia == s.Transport {
		f(l.next, nil)
		return
	}
	// A contact at the address that the far end speaks from, without a transport, is meant for the one that it uses.
	same := false
	if a, err := netip.ParseAddr(strings.Trim(uri.Host, "[]")); err == nil {
		same = a == s.Source.Addr() && len(s.RouteSet) == 0 && !uri.UriParams.Has("transport")
	}
	via := s.Transport
	l.resolve(uri, func(to transaction.Target, err error) {
		if err == nil && same {
			to.Transport = via
		}
		if err == nil && own {
			l.hopURI, l.hopVia, l.next = key, via, to
		}
		f(to, err)
	})
}

// bye ends the dialog; the leg is forgotten when that is done, whatever the far end says.
func (l *Leg) bye(c engine.Cause) {
	if l.left {
		return
	}
	l.left = true
	l.send(&l.state, sip.BYE, func(req *sip.Request) { req.AppendHeader(reasonHeader(c)) },
		func(_ *sip.Request, res *sip.Response, err error) {
			if err != nil {
				l.log.Info("BYE without an answer", "error", err)
			}
			l.forget()
		})
}

// gone ends the leg if res says that its dialog is no more (RFC 3261 12.2.1.2).
func (l *Leg) gone(res *sip.Response) bool {
	if res.StatusCode != 481 && res.StatusCode != 408 {
		return false
	}
	c := engine.Cause{Reason: engine.ReasonUnreachable, Source: l.peer(), SIPStatus: res.StatusCode, Text: sanitize(res.Reason)}
	l.dropDialog(c)
	return true
}

// dropDialog ends a confirmed leg from our side.
func (l *Leg) dropDialog(c engine.Cause) {
	if l.phase() != talking {
		return
	}
	l.bye(c)
	l.end(c)
}
