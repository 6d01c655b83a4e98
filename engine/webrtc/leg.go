package webrtc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/rtp"
)

// phase is where a leg stands; it only grows.
type phase uint8

const (
	calling phase = iota
	talking
	ended
)

const (
	signalQueue   = 24
	signalReserve = 2                // for SignalAnswered and SignalEnded, which are never dropped
	lostFor       = 30 * time.Second // without a connection, until the call is over
	digitGap      = 120 * time.Millisecond
	digitPause    = 500 * time.Millisecond
)

// Leg is one call of a page: what its peer connection carries. It implements engine.Leg.
type Leg struct {
	door     *Door
	log      *slog.Logger
	project  string
	identity string
	inbound  bool // the page calls
	codecs   []codec.Codec
	rtp      *rtp.Session
	signals  chan engine.Signal
	trail    engine.Tracing

	mu     sync.Mutex // guards what follows, and sending to signals
	callID string
	page   *page // that talks; of an outbound call nil until one accepts
	rung   []*page
	told   bool // SignalRinging was given
	busy   bool // one that was rung is busy

	transferred bool
	peer        *peer
	at          phase
	early       []event // before the call has its id
	lost        *time.Timer
}

var (
	_ engine.Leg       = (*Leg)(nil)
	_ engine.Preferrer = (*Leg)(nil)
)

// errState is what a leg says to a request that its state does not allow.
func errState(text string) error { return engine.Errorf(engine.CodeInvalidState, "%s", text) }

// nobody carries the packets of a leg that has no peer connection yet.
type nobody struct{}

func (nobody) SendRTP([]byte) error  { return errUnbound }
func (nobody) SendRTCP([]byte) error { return errUnbound }

// Prefer implements engine.Preferrer. A page's offer is answered before its call has an application, so that it hears
// something at once: only what was answered can be preferred.
func (l *Leg) Prefer(names []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peer != nil && !slices.Contains(names, l.peer.params.Codec.Name) {
		return engine.Errorf(engine.CodeUnsupported, "the page speaks %s, and the application takes %v", l.peer.params.Codec.Name, names)
	}
	return nil
}

// Ring implements engine.Leg.
func (l *Leg) Ring(_ context.Context, early bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.inbound || l.at != calling {
		return errState("only an inbound call that is not answered can ring")
	}
	if early {
		l.tell("call.early", nil)
	} else {
		l.tell("call.ringing", nil)
	}
	return nil
}

// Answer implements engine.Leg.
func (l *Leg) Answer(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.inbound || l.at != calling {
		return errState("only an inbound call that is not answered can be answered")
	}
	l.at = talking
	l.tell("call.answered", nil)
	l.emit(engine.Signal{Kind: engine.SignalAnswered})
	return nil
}

// Hangup implements engine.Leg.
func (l *Leg) Hangup(_ context.Context, c engine.Cause) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == ended {
		return errState("the call is over")
	}
	l.end(c)
	return nil
}

// Hold implements engine.Leg.
func (l *Leg) Hold(_ context.Context, on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at != talking {
		return errState("only an answered call can be held")
	}
	if on {
		l.tell("call.held", nil)
	} else {
		l.tell("call.unheld", nil)
	}
	return nil
}

// SendDTMF implements engine.Leg: a page gets keys as events, since its browser does not tell it of those in the audio.
func (l *Leg) SendDTMF(ctx context.Context, digits string) error {
	if err := dtmf.CheckDigits(digits); err != nil {
		return engine.Invalid("/digits", "%s: use 0-9, *, #, A-D, and w for a pause", err)
	}
	for _, d := range digits {
		wait := digitGap
		if d == 'w' || d == 'W' {
			wait = digitPause
		} else {
			l.mu.Lock()
			if l.at != talking {
				l.mu.Unlock()
				return errState("only an answered call can be sent digits")
			}
			l.tell("call.dtmf", map[string]any{"digit": string(d)})
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return nil
}

// Audio implements engine.Leg: the leg's RTP session.
func (l *Leg) Audio() media.Line { return l.rtp }

// Signals implements engine.Leg.
func (l *Leg) Signals() <-chan engine.Signal { return l.signals }

// State implements engine.Leg. A page comes back by itself, with its resume token.
func (l *Leg) State() []byte { return nil }

// emit tells the engine; l.mu is held.
func (l *Leg) emit(s engine.Signal) {
	if l.at == ended {
		return
	}
	if s.Kind != engine.SignalAnswered && len(l.signals) >= cap(l.signals)-signalReserve {
		l.log.Warn("signal dropped: the engine does not read", "kind", s.Kind)
		return
	}
	s.At = time.Now()
	l.signals <- s // never full: see the reserve
}

// tell is an event for the page; l.mu is held.
func (l *Leg) tell(typ string, data map[string]any) {
	e := event{Type: typ, CallID: l.callID, Timestamp: time.Now().UTC(), Data: data}
	l.note(engine.TrailOut, typ, e)
	if l.callID == "" {
		l.early = append(l.early, e)
		return
	}
	if l.page != nil {
		l.page.publish(e)
	}
}

// name gives the leg of a page that calls the id of its call.
func (l *Leg) name(callID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callID = callID
	if l.at == ended {
		l.door.forget(l)
	}
	for _, e := range l.early {
		e.CallID = callID
		l.page.publish(e)
	}
	l.early = nil
}

// end gives SignalEnded, once, tells the page or those that ring, and lets go of the media; l.mu is held.
func (l *Leg) end(c engine.Cause) {
	if l.at == ended {
		return
	}
	data := map[string]any{"cause": string(c.Reason), "source": string(c.Source)}
	if l.transferred {
		data["cause"] = "transferred"
	}
	if c.SIPStatus != 0 {
		data["sip_status"] = c.SIPStatus
	}
	l.tell("call.ended", data)
	l.forgetRung(nil, data)
	l.at = ended
	l.signals <- engine.Signal{Kind: engine.SignalEnded, Cause: &c, At: time.Now()} // has a place: see emit
	close(l.signals)
	l.rtp.Close()
	if l.lost != nil {
		l.lost.Stop()
	}
	if l.peer != nil {
		go l.peer.pc.Close() // it may wait for its goroutines; nothing depends on it
	}
	l.door.forget(l)
}

// forgetRung tells all who ring, but the one that accepted, that it is over; l.mu is held.
func (l *Leg) forgetRung(but *page, data map[string]any) {
	for _, p := range l.rung {
		if p != but {
			p.publish(event{Type: "call.ended", CallID: l.callID, Timestamp: time.Now().UTC(), Data: data})
		}
	}
	l.rung = nil
}

// mediaEvent passes on what the media side sees; it is called on a media thread.
func (l *Leg) mediaEvents() {
	for {
		select {
		case ev, ok := <-l.rtp.Events():
			if !ok {
				return
			}
			l.mu.Lock()
			switch ev.Kind {
			case rtp.Digit:
				l.emit(engine.Signal{Kind: engine.SignalDigit, Digit: ev.Digit})
			case rtp.MediaLost:
				l.emit(engine.Signal{Kind: engine.SignalMediaLost})
			case rtp.MediaBack:
				l.emit(engine.Signal{Kind: engine.SignalMediaBack})
			case rtp.SourceChanged:
			}
			l.mu.Unlock()
		default:
			return
		}
	}
}

// carry lets p carry the leg's packets, in the place of the peer connection before; l.mu is held.
func (l *Leg) carry(p *peer) {
	old := l.peer
	l.peer = p
	p.receive(l.rtp.Deliver)
	p.pc.OnConnectionStateChange(func(s pion.PeerConnectionState) { l.connection(p, s) })
	l.rtp.Set(p.params)
	if old != nil {
		go old.pc.Close()
	}
}

// connection follows the state of a peer connection: a call whose connection is gone waits for its page to come back.
func (l *Leg) connection(p *peer, s pion.PeerConnectionState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peer != p || l.at == ended {
		return
	}
	switch s {
	case pion.PeerConnectionStateConnected:
		if l.lost != nil {
			l.lost.Stop()
			l.lost = nil
		}
	case pion.PeerConnectionStateFailed, pion.PeerConnectionStateClosed, pion.PeerConnectionStateDisconnected:
		if s != pion.PeerConnectionStateDisconnected {
			l.door.stats.failed.Add(1)
		}
		if l.lost == nil {
			l.lost = time.AfterFunc(lostFor, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				if l.lost != nil {
					l.end(engine.Cause{Reason: engine.ReasonMediaTimeout, Source: engine.SourceSystem})
				}
			})
		}
	default:
	}
}

// source is the page's side of the call.
func (l *Leg) source() engine.Source {
	if l.inbound {
		return engine.SourceCaller
	}
	return engine.SourceCallee
}
