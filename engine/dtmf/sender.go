package dtmf

import (
	"fmt"
	"time"
)

// How digits are keyed unless told otherwise.
const (
	DefaultDuration = 100 * time.Millisecond // of a press
	DefaultGap      = 100 * time.Millisecond // of silence behind it
	MinDuration     = 50 * time.Millisecond  // RFC 4733 and ITU-T Q.24: shorter ones are missed
	PauseDuration   = 500 * time.Millisecond // of Pause
)

// Pause is the character in a string of digits that keys nothing for PauseDuration.
const Pause = 'w'

const (
	sentVolume = 10 // −10 dBm0
	ends       = 3  // RFC 4733 2.5.1.4: how often the last packet is sent
)

// A Sender makes the telephone-event packets of one press (RFC 4733 2.5.1) and the gap behind it.
type Sender struct {
	event   Event
	step    uint32 // units of the clock in a packet time
	total   uint64 // of the press, in units
	lasted  uint64 // units of it so far
	base    uint32 // units of the segments before the one at hand
	ends    int    // end packets given
	gap     int    // packet times without a packet that are still to come
	first   bool
	payload [EventSize]byte
}

// NewSender makes a Sender for one key. clock is that of the telephone-event payload type in Hz. A duration of 0 stands
// for DefaultDuration, one under MinDuration for MinDuration; it is rounded up to whole packet times (0: 20 ms).
func NewSender(key byte, clock int, duration, packetTime time.Duration) (*Sender, error) {
	code, ok := CodeOf(key)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrKey, key)
	}
	if clock <= 0 {
		clock = defaultClock
	}
	if packetTime <= 0 {
		packetTime = 20 * time.Millisecond
	}
	if duration <= 0 {
		duration = DefaultDuration
	}
	packets := (max(duration, MinDuration) + packetTime - 1) / packetTime
	step := uint32(int64(packetTime) * int64(clock) / int64(time.Second))
	if step == 0 || step >= segment {
		return nil, fmt.Errorf("packet time %v does not fit a clock of %d Hz", packetTime, clock)
	}
	gap := (DefaultGap + packetTime - 1) / packetTime
	return &Sender{
		event: Event{Code: code, Volume: sentVolume},
		step:  step,
		total: uint64(packets) * uint64(step),
		gap:   max(0, int(gap)-(ends-1)), // the repeated ends fall into the gap
		first: true,
	}, nil
}

// Next gives what goes out in this packet time, and is to be called once in each: a payload that is valid until the
// next call, or none in the gap. The marker is set on the first packet. done says that the digit and its gap are over
// and nothing is to be sent. All packets carry the RTP timestamp at which the press began, plus TimestampOffset.
func (s *Sender) Next() (payload []byte, marker, done bool) {
	switch {
	case s.ends == 0:
		s.advance()
	case s.ends < ends:
		s.ends++
	case s.gap > 0:
		s.gap--
		return nil, false, false
	default:
		return nil, false, true
	}
	marker, s.first = s.first, false
	return s.event.AppendTo(s.payload[:0]), marker, false
}

// TimestampOffset is what the timestamp of the packet last given is ahead of the press's beginning: 0, but in the later
// segments of a press that is longer than 65 535 units (RFC 4733 2.5.1.3).
func (s *Sender) TimestampOffset() uint32 { return s.base }

// advance lets the press last a packet time longer. A segment is finished by a packet of its full length; what the
// press is longer by then is told by the next one (RFC 4733 2.5.1.3).
func (s *Sender) advance() {
	if s.event.Duration == segment {
		s.base += segment
	}
	s.lasted = min(s.lasted+uint64(s.step), s.total)
	d := s.lasted - uint64(s.base)
	s.event.Duration = uint16(min(d, segment))
	if s.lasted == s.total && d <= segment {
		s.event.End = true
		s.ends = 1
	}
}
