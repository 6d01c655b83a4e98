package rtp

import (
	"context"
	"errors"

	"github.com/tipring/tipring/engine/dtmf"
)

// keying is the telephone keys that a session sends (RFC 4733), one digit after the other.
type keying struct {
	jobs      []*keyJob
	sender    *dtmf.Sender // of the digit at hand
	pause     int          // turns
	timestamp uint32       // of the digit at hand
}

// A keyJob is one call of SendDTMF.
type keyJob struct {
	digits    string
	cancelled bool
	done      chan error // one slot
}

// maxKeyJobs bounds the strings that wait for each other.
const maxKeyJobs = 16

// ErrBusy says that too many digit strings wait to be sent.
var ErrBusy = errors.New("rtp: too many digit strings at once")

// SendDTMF keys digits (0-9, *, #, A-D; w pauses 500 ms) as telephone-events and returns when the last is sent, or
// with the cause of ctx after the digit at hand. Audio pauses meanwhile. Strings of concurrent calls follow each
// other. The error is ErrNoTelephoneEvent, ErrBadDigit, ErrBusy, ErrClosed or that of ctx.
func (s *Session) SendDTMF(ctx context.Context, digits string) error {
	if p := s.settled.Load(); p == nil || !p.Events {
		return ErrNoTelephoneEvent
	}
	if err := dtmf.CheckDigits(digits); err != nil {
		return errors.Join(ErrBadDigit, err)
	}
	job := &keyJob{digits: digits, done: make(chan error, 1)}
	if !s.do(func(*shard) { s.keying.add(job); s.relink() }) {
		return ErrClosed
	}
	select {
	case err := <-job.done:
		return err
	case <-s.over:
		return ErrClosed
	case <-ctx.Done():
		s.do(func(*shard) { job.cancelled = true })
		return context.Cause(ctx)
	}
}

func (k *keying) busy() bool { return len(k.jobs) > 0 }

func (k *keying) add(job *keyJob) {
	if len(k.jobs) == maxKeyJobs {
		job.done <- ErrBusy
		return
	}
	k.jobs = append(k.jobs, job)
}

// fail ends all that waits.
func (k *keying) fail(err error) {
	for _, job := range k.jobs {
		job.done <- err
	}
	*k = keying{}
}

// next makes the next digit or pause the one at hand; false if there is none.
func (k *keying) next(clock int) bool {
	for len(k.jobs) > 0 {
		job := k.jobs[0]
		if job.digits == "" || job.cancelled {
			job.done <- nil
			k.jobs = append(k.jobs[:0], k.jobs[1:]...)
			continue
		}
		key := job.digits[0]
		job.digits = job.digits[1:]
		if key == dtmf.Pause {
			k.pause = int(dtmf.PauseDuration / packetTime)
			return true
		}
		sender, err := dtmf.NewSender(key, clock, dtmf.DefaultDuration, packetTime)
		if err != nil {
			job.done <- err
			k.jobs = append(k.jobs[:0], k.jobs[1:]...)
			continue
		}
		k.sender = sender
		return true
	}
	return false
}

// key4733 sends what belongs to this turn; false when the last digit is over and audio goes on.
func (s *Session) key4733(sh *shard, at moment) bool {
	k := &s.keying
	if !s.params.Events {
		k.fail(ErrNoTelephoneEvent)
		s.relink()
		return false
	}
	for {
		if k.pause > 0 {
			k.pause--
			s.sendSilence(sh, at)
			return true
		}
		if k.sender != nil {
			payload, marker, done := k.sender.Next()
			if !done {
				s.sendKey(sh, payload, marker, at)
				return true
			}
			k.sender = nil
		}
		if !k.next(s.params.EventClock) {
			s.relink()
			return false
		}
	}
}

// sendKey sends one packet of the digit at hand; none in the gap behind it, where silence goes on.
func (s *Session) sendKey(sh *shard, payload []byte, marker bool, at moment) {
	o := &s.out
	if payload == nil {
		s.sendSilence(sh, at)
		return
	}
	if marker {
		s.keying.timestamp, _ = o.upcoming(at)
		o.timestamp, o.length, o.sentAt, o.started = s.keying.timestamp, 0, sh.now, true
		o.payload, o.mapped = o.payload[:0], false
	}
	o.length += ticks(packetTime, o.rate)
	o.marker = true
	h := header{
		marker: marker, payloadType: s.params.EventSendPT, sequence: o.next,
		timestamp: s.keying.timestamp + s.keying.sender.TimestampOffset(), ssrc: o.ssrc,
	}
	b := sh.scratch[:headerSize+copy(sh.scratch[headerSize:], payload)]
	h.put(b)
	s.transmit(sh, b)
}

// receiveEvent takes a packet of a press: once to the control side, and on to who hears the mic.
func (s *Session) receiveEvent(sh *shard, h header, start, end int) {
	payload := sh.buffer[start:end]
	clock := s.params.EventClock
	if d, ok := s.presses.Push(h.timestamp, h.marker, payload, clock); ok {
		s.report(sh, Event{Kind: Digit, Digit: d})
	}
	if !s.params.Receive || s.mutedIn {
		return
	}
	for _, hearer := range s.hearers {
		if hearer != s {
			hearer.forwardEvent(sh, h, payload, clock)
		}
	}
}
