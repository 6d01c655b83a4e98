package sip

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// phase is where a leg stands; it only grows.
type phase uint32

const (
	calling   phase = iota // no final response to the INVITE yet
	answering              // inbound: our 2xx waits for its ACK
	talking                // confirmed
	ended                  // SignalEnded was given; transactions may still finish
)

const (
	signalQueue   = 24 // signals that wait for the engine
	signalReserve = 2  // of them for SignalAnswered and SignalEnded, which are never dropped
)

// Leg is one SIP call with its RTP. It implements engine.Leg.
//
// All but the first group of fields belongs to the lane of the Call-ID: what runs there runs one after the other, so
// nothing is locked. The engine's methods post to the lane and return.
type Leg struct {
	door     *Door
	log      *slog.Logger
	callID   string
	localTag string
	inbound  bool
	rtp      *rtp.Session
	signals  chan engine.Signal // written by the lane only
	at       atomic.Uint32      // phase
	promised atomic.Bool        // Ring was asked for early media: the answer stands
	snapshot atomic.Pointer[DialogState]
	trail    *engine.Tracing

	state    DialogState
	removed  bool // from the door
	timer    *transaction.Timer
	hopURI   string // what next is the address of
	hopVia   string
	next     transaction.Target
	presses  presses
	auth     authenticator
	endCause engine.Cause // of a BYE that waits for the ACK

	// A server INVITE, inbound or in dialog.
	uas      *transaction.Server // without a final response
	unacked  *transaction.Server // its 2xx waits for the ACK
	ackCSeq  uint32              // of unacked
	lateSDP  bool                // unacked carried our offer: the ACK brings the answer
	early    bool                // our 183 carried the answer already
	byeLater bool                // hung up while the ACK is out
	left     bool                // a BYE was sent or received
	progress *sip.Response       // last provisional, sent again each minute (RFC 3261 13.3.1.1)

	// A client INVITE, outbound or in dialog.
	out    *outbound   // nil for inbound legs and once answered
	ours   *reinvite   // our re-INVITE or UPDATE that has no final response yet
	again  *reinvite   // waits for its retry after glare
	hold   bool        // what the engine wants
	held   bool        // by the far end, as told to the engine
	due    bool        // a session refresh is due
	tries  int         // of what ours is for
	lastOK *answeredBy // the ACK of our last INVITE, for 2xx that come again

	forks      map[string]*answeredBy // by tag: other answers to our INVITE, ended at once
	forksUntil time.Time
}

var _ engine.Leg = (*Leg)(nil)

// answeredBy is the ACK of a 2xx and where it went.
type answeredBy struct {
	ack *sip.Request
	to  transaction.Target
}

func (d *Door) newLeg(callID, localTag string, inbound bool, session *rtp.Session) *Leg {
	l := &Leg{
		door: d, callID: callID, localTag: localTag, inbound: inbound, rtp: session,
		log:     d.log.With("sip_call_id", callID),
		signals: make(chan engine.Signal, signalQueue), trail: new(engine.Tracing),
	}
	l.state = DialogState{Format: stateFormat, Inbound: inbound, CallID: callID, LocalTag: localTag}
	return l
}

// listen passes on what the media side sees, without a goroutine that waits for it.
func (l *Leg) listen() {
	l.rtp.Notify(func() { l.door.layer.Do(l.callID, l.mediaEvents) })
}

func (l *Leg) mediaEvents() {
	for {
		select {
		case ev, ok := <-l.rtp.Events():
			if !ok {
				return
			}
			l.mediaEvent(ev)
		default:
			return
		}
	}
}

func (l *Leg) phase() phase { return phase(l.at.Load()) }

func (l *Leg) enter(p phase) { l.at.Store(uint32(p)) }

// publish makes the lane's state visible to State, until the leg is over.
func (l *Leg) publish() {
	if l.phase() == ended {
		l.snapshot.Store(nil)
		return
	}
	s := l.state
	l.snapshot.Store(&s)
}

// errState is what a leg says to a request that its state does not allow.
func errState(format string) error { return engine.Errorf(engine.CodeInvalidState, "%s", format) }

// post runs f on the leg's lane.
func (l *Leg) post(f func()) error {
	if !l.door.layer.Do(l.callID, f) {
		return engine.Errorf(engine.CodeCapacity, "this node has too much to do for SIP; try again")
	}
	return nil
}

// Ring implements engine.Leg.
func (l *Leg) Ring(_ context.Context, early bool) error {
	if !l.inbound || l.phase() != calling {
		return errState("only an inbound call that is not answered can ring")
	}
	if early {
		l.promised.Store(true)
	}
	return l.post(func() { l.ring(early) })
}

// Answer implements engine.Leg.
func (l *Leg) Answer(context.Context) error {
	if !l.inbound || l.phase() != calling {
		return errState("only an inbound call that is not answered can be answered")
	}
	return l.post(l.answer)
}

// How long and how often something that must not be lost waits for a lane that is full.
const (
	laneRetry   = 50 * time.Millisecond
	laneRetries = 100
)

// Hangup implements engine.Leg.
func (l *Leg) Hangup(_ context.Context, c engine.Cause) error {
	if l.phase() == ended {
		return errState("the call is over")
	}
	l.postSoon(func() { l.hangup(c) }, laneRetries)
	return nil
}

// postSoon posts what must not be lost: a full lane makes it wait.
func (l *Leg) postSoon(f func(), tries int) {
	if l.post(f) != nil && tries > 0 {
		time.AfterFunc(laneRetry, func() { l.postSoon(f, tries-1) })
	}
}

// Hold implements engine.Leg.
func (l *Leg) Hold(_ context.Context, on bool) error {
	if l.phase() != talking {
		return errState("only an answered call can be held")
	}
	return l.post(func() {
		l.hold = on
		l.sync()
	})
}

// Audio implements engine.Leg: the leg's RTP session.
func (l *Leg) Audio() media.Line { return l.rtp }

// Signals implements engine.Leg. The channel holds 24; when the engine does not read, all but SignalAnswered and
// SignalEnded are dropped and counted.
func (l *Leg) Signals() <-chan engine.Signal { return l.signals }

// State implements engine.Leg: a DialogState as JSON.
func (l *Leg) State() []byte {
	if s := l.snapshot.Load(); s != nil {
		return s.encode()
	}
	return nil
}

// emit tells the engine.
func (l *Leg) emit(s engine.Signal) {
	if l.phase() == ended {
		return
	}
	if s.Kind != engine.SignalAnswered && len(l.signals) >= cap(l.signals)-signalReserve {
		l.door.stats.signalsDropped.Add(1)
		l.log.Warn("signal dropped: the engine does not read", "kind", s.Kind)
		return
	}
	s.At = time.Now()
	l.signals <- s // never full: see the reserve
}

// end gives SignalEnded, once, and lets go of the media. Transactions may go on.
func (l *Leg) end(c engine.Cause) {
	if l.phase() == ended {
		return
	}
	if c.Q850 == 0 {
		c.Q850 = q850Of(c.SIPStatus)
	}
	if c.Q850 == 0 {
		c.Q850 = q850OfReason(c.Reason)
	}
	l.enter(ended)
	l.door.stats.ended()
	l.signals <- engine.Signal{Kind: engine.SignalEnded, Cause: &c, At: time.Now()} // has a place: see emit
	close(l.signals)
	l.stopTimer()
	l.rtp.Close()
	l.again, l.progress = nil, nil
	l.publish()
	l.log.Debug("leg ended", "reason", c.Reason, "source", c.Source, "status", c.SIPStatus)
}

// forget removes the leg from the door: requests of its dialog get 481 from now on. A leg whose INVITE was answered
// stays until no fork can answer any more (RFC 3261 13.2.2.4).
func (l *Leg) forget() {
	if l.removed {
		return
	}
	l.removed = true
	if l.door.o.Trail {
		time.AfterFunc(traceAfter, func() { l.door.unfollow(l.callID, l.trail) })
	}
	if wait := time.Until(l.forksUntil); wait > 0 {
		l.door.layer.After(l.callID, wait, func() { l.door.remove(l) })
		return
	}
	l.door.remove(l)
}

// arm sets the leg's one timer: the next provisional response, then the session timer.
func (l *Leg) arm(d time.Duration, f func()) {
	l.stopTimer()
	l.timer = l.door.layer.After(l.callID, d, f)
}

func (l *Leg) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// peer is who ends a call when the far end does.
func (l *Leg) peer() engine.Source {
	if l.inbound {
		return engine.SourceCaller
	}
	return engine.SourceCallee
}

// knows reports whether tag is the far end's, or one of the forks that ring.
func (l *Leg) knows(tag string) bool {
	if l.state.RemoteTag == "" && l.out != nil {
		_, ok := l.out.early[tag]
		return ok
	}
	return l.state.RemoteTag == tag
}

// hangup ends the leg by what fits its phase (RFC 3261 15).
func (l *Leg) hangup(c engine.Cause) {
	switch {
	case l.phase() == ended:
		return
	case l.inbound && l.uas != nil && l.phase() == calling:
		l.reject(c)
	case l.phase() == calling:
		l.cancel(c)
	case l.phase() == answering:
		l.byeLater, l.endCause = true, c // no BYE before the ACK (RFC 3261 15)
		l.end(c)
	default: // the BYE first: a node that stops closes its sockets when the last leg has ended
		l.bye(c)
		l.end(c)
	}
}

// setMedia puts a negotiated state in force and tells the engine what that means for hold.
func (l *Leg) setMedia(m MediaState) {
	l.useMedia(m)
	l.tellHold()
}

// useMedia puts a negotiated state in force.
func (l *Leg) useMedia(m MediaState) {
	l.state.Media = m
	if l.phase() != ended {
		l.rtp.Set(m.params(l.state.Source.Addr()))
	}
	l.publish()
}

// tellHold tells the engine when the far end holds us or takes us back, once there is a call to hold.
func (l *Leg) tellHold() {
	held := l.state.Media.HeldByPeer
	if l.phase() != talking || held == l.held {
		return
	}
	l.held = held
	kind := engine.SignalUnheld
	if held {
		kind = engine.SignalHeld
	}
	l.emit(engine.Signal{Kind: kind})
}
