package sip

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/rtp"
)

// doubled is how far apart the two deliveries of one press may be, by RFC 4733 and by INFO.
const doubled = 2 * time.Second

// presses pairs the keys that a phone sends in both ways, so that each press counts once.
type presses struct {
	open []press
}

// press is a key that was counted and whose twin may still come.
type press struct {
	key    byte
	method dtmf.Method
	at     time.Time
}

// counts reports whether d is a new press, not the twin of one that was counted.
func (p *presses) counts(d dtmf.Digit, now time.Time) bool {
	kept := p.open[:0]
	twin := false
	for _, o := range p.open {
		switch {
		case now.Sub(o.at) > doubled:
		case !twin && o.key == d.Key && o.method != d.Method:
			twin = true
		default:
			kept = append(kept, o)
		}
	}
	p.open = kept
	if twin {
		return false
	}
	if len(p.open) < 32 {
		p.open = append(p.open, press{d.Key, d.Method, now})
	}
	return true
}

// press tells the engine of a key, once.
func (l *Leg) press(d dtmf.Digit) {
	if !l.presses.counts(d, time.Now()) {
		l.door.stats.doubled.Add(1)
		return
	}
	l.emit(engine.Signal{Kind: engine.SignalDigit, Digit: d})
}

// mediaEvent takes what the media side saw.
func (l *Leg) mediaEvent(ev rtp.Event) {
	switch ev.Kind {
	case rtp.Digit:
		l.press(ev.Digit)
	case rtp.MediaLost:
		l.emit(engine.Signal{Kind: engine.SignalMediaLost})
	case rtp.MediaBack:
		l.emit(engine.Signal{Kind: engine.SignalMediaBack})
	case rtp.SourceChanged: // the media side follows by itself
	}
}

// Timing of keys that go by INFO.
const (
	infoDuration = 100 * time.Millisecond // of a key
	infoGap      = 100 * time.Millisecond // between keys
	infoPause    = 500 * time.Millisecond // of a 'w'
)

// SendDTMF implements engine.Leg: by RFC 4733 if the far end takes telephone-events, else by INFO if it allows that.
func (l *Leg) SendDTMF(ctx context.Context, digits string) error {
	if err := dtmf.CheckDigits(digits); err != nil {
		return engine.Invalid("/digits", "%s: use 0-9, *, #, A-D, and w for a pause", err)
	}
	s := l.snapshot.Load()
	early := l.phase() == calling && s != nil && s.Media.Agreed
	switch {
	case l.phase() != talking && !early:
		return errState("only an answered call can be sent digits")
	case s.Media.EventClock != 0:
		err := l.rtp.SendDTMF(ctx, digits)
		switch {
		case errors.Is(err, rtp.ErrClosed):
			return errState("the call is over")
		case errors.Is(err, rtp.ErrBusy):
			return engine.Errorf(engine.CodeCapacity, "too many digits wait to be sent on this call")
		}
		return err
	case s.peerAllows(sip.INFO):
		return l.sendInfo(ctx, digits)
	}
	return engine.Errorf(engine.CodeUnsupported, "the far end takes neither telephone-events nor INFO")
}

// sendInfo sends digits one INFO after the other.
func (l *Leg) sendInfo(ctx context.Context, digits string) error {
	for i, key := range []byte(strings.ToUpper(digits)) {
		wait := infoPause
		if key != 'W' {
			if err := l.sendInfoKey(ctx, key); err != nil {
				return err
			}
			if i == len(digits)-1 {
				break
			}
			wait = infoDuration + infoGap
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// sendInfoKey sends one key and waits for the answer.
func (l *Leg) sendInfoKey(ctx context.Context, key byte) error {
	done := make(chan error, 1)
	kind, body := dtmf.FormatInfo(dtmf.Digit{Key: key, Duration: infoDuration, Method: dtmf.Info})
	err := l.post(func() {
		if l.phase() == ended {
			done <- errState("the call is over")
			return
		}
		l.send(&l.state, sip.INFO, func(req *sip.Request) {
			req.AppendHeader(sip.NewHeader("Content-Type", kind))
			req.SetBody(body)
		}, func(_ *sip.Request, res *sip.Response, err error) {
			switch {
			case err != nil:
				err = fmt.Errorf("send INFO: %w", err)
			case !res.IsSuccess():
				err = engine.Errorf(engine.CodeUnsupported, "the far end refused the digit: %d %s", res.StatusCode, sanitize(res.Reason))
				l.gone(res)
			}
			done <- err
		})
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
