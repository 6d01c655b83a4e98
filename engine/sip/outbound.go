package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// Limits of one outbound INVITE.
const (
	maxInvites     = 8  // with digest answers, 422 and redirections
	maxForks       = 16 // early dialogs that are followed
	forkLifetime   = 32 * time.Second
	resolveTimeout = 5 * time.Second
)

// outbound is what an outbound leg keeps until its INVITE has a final response.
type outbound struct {
	target  sip.Uri // Request-URI of the INVITE
	headers map[string]string
	request *sip.Request        // the INVITE under way
	client  *transaction.Client // of request; nil while there is none
	expires sessionExpires      // that we ask for
	minSE   int
	invites int
	offer   MediaState            // with our offer and no answer
	early   map[string]MediaState // by the tag of who rings: with his answer, or not Agreed
	rang    bool                  // SignalRinging was given
	heard   bool                  // SignalEarlyMedia was given

	answered  map[string]bool // digest challenges
	cancelled bool

	from     engine.Address
	trunk    *trunkCall // nil: none
	identity sip.Header // of the caller, on a trunk; nil: none

	contacts  []sip.Uri // of a redirection, best first, still to be tried
	visited   []string
	redirects int
}

// Dial implements engine.Dialer for "sip" addresses.
func (d *Door) Dial(_ context.Context, out engine.Outgoing) (engine.Leg, error) {
	if err := checkHeaders(out.Headers); err != nil {
		return nil, err
	}
	target, trunk, err := d.whereTo(&out)
	if err != nil {
		return nil, err
	}
	if _, unknown := d.spoken(out.Codecs); unknown >= 0 {
		return nil, engine.Invalid("/codecs/"+strconv.Itoa(unknown), "this node does not speak %q", out.Codecs[unknown])
	}
	session, err := d.o.Media.Open(out.Key)
	if err != nil {
		d.log.Warn("no port for an outbound call", "call_id", out.CallID, "error", err)
		return nil, engine.Errorf(engine.CodeCapacity, "this node has no RTP port left")
	}
	l := d.newLeg(newCallID(out.Key), newTag(), false, session)
	l.log = l.log.With("call_id", out.CallID)
	l.auth.credentials = out.Credentials
	s := &l.state
	s.Key, s.Credentials = out.Key, out.Credentials
	s.Remote, _ = withoutTag(escape(out.To.Name), target, nil)
	s.RemoteTarget = target.String()
	s.Media = MediaState{SessionID: newSDPSession(), Version: 1, Codecs: slices.Clone(out.Codecs)}
	l.out = &outbound{
		target: target, trunk: trunk, headers: out.Headers, expires: d.sessionExpires(), minSE: d.minSE(),
		visited: []string{target.String()},
	}
	d.follow(l.callID, l.trail)
	if !d.add(l) {
		session.Close()
		d.unfollow(l.callID, l.trail)
		return nil, engine.Errorf(engine.CodeDraining, "this node takes no new calls")
	}
	l.publish()
	if err := l.post(func() { l.start(out.From) }); err != nil {
		session.Close()
		d.remove(l)
		d.unfollow(l.callID, l.trail)
		return nil, err
	}
	d.stats.began(l)
	l.listen()
	return l, nil
}

// newCallID makes the Call-ID of a call that we start: the session's key, so that it hashes to the session's node.
func newCallID(key string) string {
	if key == "" || !isToken(key) {
		key = keyOf(key + rand.Text())
	}
	return key + "-" + rand.Text()
}

// start sends the first INVITE when the target's address is known.
func (l *Leg) start(from engine.Address) {
	o := l.out
	o.from = from
	first := hop{uri: o.target, via: o.target}
	if o.trunk != nil {
		first, o.trunk.targets = o.trunk.targets[0], o.trunk.targets[1:]
	}
	l.seek(first)
}

// seek invites a target when the address of where it goes is known.
func (l *Leg) seek(h hop) {
	o := l.out
	if o.trunk != nil && !h.found && transaction.Named(h.via) {
		l.services(h)
		return
	}
	l.resolve(h.via, func(to transaction.Target, err error) {
		if l.out != o || l.phase() == ended {
			return
		}
		if err == nil && o.offer.Local == nil {
			err = l.describe(to)
		}
		if err != nil {
			l.unreachable(err)
			return
		}
		l.invite(to)
	})
}

// describe makes what every INVITE says of us: who calls, and the offer. They do not change with the target.
func (l *Leg) describe(to transaction.Target) error {
	o := l.out
	if o.trunk == nil {
		l.state.Local = l.from(o.from, l.door.layer.Contact(to))
	} else {
		l.state.Local, o.identity = l.trunkFrom(o.from, l.door.layer.Contact(to))
	}
	m := l.state.Media
	m.Address = netip.AddrPortFrom(l.door.mediaAddress(to), uint16(l.rtp.Port()))
	m, err := m.offer(l.codecs())
	if err != nil {
		return err
	}
	l.state.Media, o.offer = m, m
	return nil
}

// resolve finds where uri is and goes on in the lane.
func (l *Leg) resolve(uri sip.Uri, f func(transaction.Target, error)) {
	if _, err := netip.ParseAddr(strings.Trim(uri.Host, "[]")); err == nil && !uri.UriParams.Has("maddr") {
		l.door.layer.Resolve(context.Background(), uri, f) // calls f at once
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	l.door.layer.Resolve(ctx, uri, func(to transaction.Target, err error) {
		cancel()
		l.postSoon(func() { f(to, err) }, laneRetries)
	})
}

// invite sends an INVITE to o.target by way of to (RFC 3261 13.2.1).
func (l *Leg) invite(to transaction.Target) {
	o, s := l.out, &l.state
	o.invites++
	o.early = map[string]MediaState{}
	s.LocalCSeq = nextCSeq(s.LocalCSeq, time.Now())
	s.InviteCSeq = s.LocalCSeq
	s.Transport, s.Source = to.Transport, to.Addr
	req := sip.NewRequest(sip.INVITE, o.target)
	s.appendDialogHeaders(req, s.LocalCSeq)
	req.AppendHeader(l.door.contact(s.LocalUser, to))
	req.AppendHeader(sip.NewHeader("Allow", methods))
	req.AppendHeader(sip.NewHeader("Supported", "timer"))
	req.AppendHeader(o.expires.header())
	req.AppendHeader(minSEHeader(o.minSE))
	if o.identity != nil {
		req.AppendHeader(o.identity)
	}
	appendHeaders(req, o.headers)
	l.setBody(req, o.offer.Local)
	if err := l.auth.authorize(req); err != nil {
		l.unreachable(err)
		return
	}
	client, err := l.door.layer.Request(req, to, func(res *sip.Response, err error) { l.inviteResult(req, res, err) })
	if err != nil {
		l.unreachable(err)
		return
	}
	o.request, o.client = req, client
	l.awaitTarget()
}

// inviteResult takes what comes of the INVITE.
func (l *Leg) inviteResult(req *sip.Request, res *sip.Response, err error) {
	o := l.out
	if o == nil || o.request != nil && o.request != req {
		if err == nil && res.IsSuccess() { // a target that was given up answers after all
			l.endFork(res)
		}
		return
	}
	if o.trunk != nil {
		l.stopTimer() // it says something
	}
	switch {
	case err != nil:
		l.unreachable(err)
	case res.IsProvisional():
		l.provisional(res)
	case res.IsSuccess():
		l.accepted(req, res)
	default:
		l.refused(res)
	}
}

// provisional is a 1xx. Each To-tag is an early dialog of its own; whose answer came last is heard (RFC 3960 3).
func (l *Leg) provisional(res *sip.Response) {
	o, tag := l.out, toTag(res)
	if res.StatusCode == 100 || o.cancelled {
		return
	}
	m, known := o.early[tag]
	if tag != "" && !known && len(o.early) < maxForks {
		o.early[tag] = m
	}
	l.state.readPeer(res)
	if res.StatusCode == 180 && !o.rang {
		o.rang = true
		l.emit(engine.Signal{Kind: engine.SignalRinging, Status: 180})
	}
	if len(res.Body()) == 0 || contentType(res) != contentTypeSDP {
		return
	}
	m, err := o.offer.accept(res.Body())
	if err != nil {
		l.log.Info("early answer ignored", "error", err)
		return
	}
	if _, known := o.early[tag]; known {
		o.early[tag] = m
	}
	l.setMedia(m)
	if !o.heard {
		o.heard = true
		l.emit(engine.Signal{Kind: engine.SignalEarlyMedia, Status: res.StatusCode})
	}
}

// accepted is the first 2xx: the dialog begins (RFC 3261 13.2.2.4). If we gave up meanwhile, it ends with a BYE.
func (l *Leg) accepted(req *sip.Request, res *sip.Response) {
	o, s := l.out, &l.state
	l.out = nil
	s.begin(res, o.target.String())
	l.forksUntil = time.Now().Add(forkLifetime)
	l.auth.sealed = true
	l.lastOK = l.sendACK(s, req)
	if o.cancelled {
		l.bye(engine.Cause{Reason: engine.ReasonCancelled})
		return
	}
	m, err := o.early[s.RemoteTag], errNoCodec
	if len(res.Body()) > 0 {
		m, err = o.offer.accept(res.Body())
	} else if m.Agreed {
		err = nil
	}
	if err != nil {
		l.log.Info("2xx without a usable answer", "error", err)
		c := engine.Cause{Reason: engine.ReasonNoCodec, Source: engine.SourceSystem, SIPStatus: 488}
		l.end(c)
		l.bye(c)
		return
	}
	l.enter(talking)
	s.Confirmed = true
	s.Timer = acceptTimer(res, o.expires, o.minSE)
	l.useMedia(m)
	l.emit(engine.Signal{Kind: engine.SignalAnswered, Status: res.StatusCode})
	l.tellHold()
	l.armSession()
}

// begin makes the dialog that a 2xx creates for the UAC (RFC 3261 12.1.2).
func (s *DialogState) begin(res *sip.Response, requestURI string) {
	s.RemoteTag = toTag(res)
	s.RemoteTarget = requestURI
	s.refreshTarget(res.Contact())
	s.RouteSet = recordedRoutes(res)
	slices.Reverse(s.RouteSet)
	s.readPeer(res)
}

// sendACK acknowledges the 2xx to invite, over the dialog's route. What it returns can be sent again.
func (l *Leg) sendACK(s *DialogState, invite *sip.Request) *answeredBy {
	ack, err := s.request(sip.ACK, invite.CSeq().SeqNo)
	if err != nil {
		l.log.Info("ACK not sent", "error", err)
		return nil
	}
	copyAuthorization(invite, ack)
	a := &answeredBy{ack: ack}
	l.findHop(s, func(to transaction.Target, err error) {
		if err == nil {
			a.to = to
			err = l.door.layer.ACK(ack, to)
		}
		if err != nil {
			l.log.Info("ACK not sent", "error", err)
		}
	})
	return a
}

// strayAnswer is a 2xx that no client transaction waits for: the answer again, whose ACK was lost, or another fork's.
func (l *Leg) strayAnswer(res *sip.Response) {
	cseq := res.CSeq()
	if cseq == nil || cseq.MethodName != sip.INVITE || l.lastOK == nil {
		return
	}
	tag := toTag(res)
	switch a := l.forks[tag]; {
	case tag == l.state.RemoteTag && cseq.SeqNo == l.lastOK.ack.CSeq().SeqNo:
		l.again2xx(l.lastOK)
	case tag == l.state.RemoteTag || l.inbound:
	case a != nil:
		l.again2xx(a)
	case len(l.forks) < maxForks && time.Now().Before(l.forksUntil):
		l.endFork(res)
	}
}

func (l *Leg) again2xx(a *answeredBy) {
	if !a.to.Addr.IsValid() {
		return
	}
	if err := l.door.layer.ACK(a.ack, a.to); err != nil {
		l.log.Info("ACK not sent again", "error", err)
	}
}

// endFork acknowledges the answer of a second fork and ends its dialog (RFC 3261 13.2.2.4).
func (l *Leg) endFork(res *sip.Response) {
	l.door.stats.forks.Add(1)
	fork := l.state
	fork.begin(res, l.state.RemoteTarget)
	invite := sip.NewRequest(sip.INVITE, sip.Uri{})
	invite.AppendHeader(&sip.CSeqHeader{SeqNo: res.CSeq().SeqNo, MethodName: sip.INVITE})
	if l.forks == nil {
		l.forks = map[string]*answeredBy{}
	}
	l.forks[fork.RemoteTag] = l.sendACK(&fork, invite)
	c := engine.Cause{Reason: engine.ReasonCancelled, Text: "Call completed elsewhere"}
	l.send(&fork, sip.BYE, func(req *sip.Request) { req.AppendHeader(reasonHeader(c)) },
		func(*sip.Request, *sip.Response, error) {})
}

// refused is a failure response to the INVITE: another try, another target, or the end.
func (l *Leg) refused(res *sip.Response) {
	o := l.out
	to := o.client.Target()
	o.client = nil
	again := !o.cancelled && o.invites < maxInvites
	switch {
	case again && (res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired):
		if o.answered == nil {
			o.answered = map[string]bool{}
		}
		err := l.auth.challenged(res, o.answered)
		if err == nil {
			l.invite(to)
			return
		}
		l.log.Info("challenge not answered", "error", err)
	case again && res.StatusCode == statusIntervalTooSmall && readMinSE(res) > o.expires.seconds:
		o.minSE = readMinSE(res)
		o.expires.seconds = o.minSE
		l.invite(to)
		return
	case again && res.IsRedirection():
		o.contacts = append(o.redirectTargets(res), o.contacts...)
		if l.redirect() {
			return
		}
	case again && res.StatusCode < 600 && l.redirect():
		return
	case again && failsOver(res.StatusCode) && l.nextTarget():
		return
	}
	if o.cancelled {
		l.out = nil
		l.forget()
		return
	}
	l.failed(causeOf(res))
}

// failed ends an outbound leg that was not answered.
func (l *Leg) failed(c engine.Cause) {
	l.out = nil
	l.end(c)
	l.forget()
}

// unreachable is an INVITE that could not be sent or got no final response.
func (l *Leg) unreachable(err error) {
	if !l.out.cancelled && errors.Is(err, transaction.ErrTimeout) && l.redirect() {
		return
	}
	if l.nextTarget() {
		return
	}
	l.log.Info("outbound call failed", "error", err)
	c := engine.Cause{Reason: engine.ReasonUnreachable, Source: engine.SourceSystem, Text: "the far end cannot be reached"}
	if errors.Is(err, transaction.ErrTimeout) {
		c.SIPStatus, c.Text = 408, "the far end does not answer"
	}
	l.failed(c)
}

// cancel gives up an outbound leg that was not answered (RFC 3261 9.1). A 2xx that wins the race is acknowledged and
// ended with a BYE: see accepted.
func (l *Leg) cancel(c engine.Cause) {
	o := l.out
	if o == nil || o.client == nil { // nothing was sent, or its last try was refused
		l.failed(c)
		return
	}
	o.cancelled = true
	reason := reasonHeader(c).Value()
	if c.SIPStatus == 200 {
		reason = `SIP;cause=200;text="Call completed elsewhere"` // RFC 3326 3.1
	}
	o.client.Cancel(reason)
	l.end(c)
}
