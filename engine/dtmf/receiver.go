package dtmf

import "time"

const (
	// silenceEnds is the silence behind its last packet after which an event whose ends were lost is over. Senders
	// repeat the event every packet time, 20 to 50 ms, so one that goes on is not cut by a lost packet.
	silenceEnds = 100 * time.Millisecond
	// bounce is the silence that parts two presses of one key whose timestamps do not.
	bounce = 40 * time.Millisecond
)

const (
	segment        = 0xFFFF // the longest duration that an event can tell; a longer press goes on in a new segment
	maxEvents      = 8      // that are read of one packet, and digits that wait
	staleSeconds   = 10     // a timestamp so much older than the last one is a reordered packet, not a new sender
	defaultClock   = 8000
	segmentLossDiv = 4 // a segment may have lost its last quarter second and is still continued
)

// A Receiver makes digits of the telephone-event packets of one RTP stream (RFC 4733 2.5.2). The zero Receiver is ready.
// It is used by one goroutine at a time and does not allocate.
//
// A press is known by its timestamp, never by the marker, which is lost with the first packet; it is reported exactly
// once, when it is over: at its first end packet, else when the next event begins, else when 100 ms have passed since its last packet.
// It could be reported at its first packet, a press earlier (100 ms or so), but then without a duration, and a
// sender's stray first packet (a bounce, a key that its user slid off) would count as a press.
type Receiver struct {
	now   press
	seen  bool          // now is a press, or was the last one
	idle  time.Duration // since the last packet
	due   [maxEvents]Digit
	count int // of due
}

// press is an event that lasts, or the last one that did.
type press struct {
	code     byte
	clock    int
	ts       uint32 // of the segment
	before   uint64 // duration of the segments before it
	duration uint16
	over     bool // reported
}

// Push takes a telephone-event packet: its timestamp, marker and payload, and the clock of its payload type in Hz. It
// returns the oldest digit that is due; more of them, which only a packet of several events can bring, follow at the
// next Push or Tick. Malformed payloads and events that are no keys are ignored.
func (r *Receiver) Push(ts uint32, marker bool, payload []byte, clock int) (Digit, bool) {
	if clock <= 0 {
		clock = defaultClock
	}
	for range maxEvents { // RFC 4733 2.5.1.5: events in one packet follow each other without a gap
		var e Event
		if e.Unmarshal(payload) != nil {
			break
		}
		r.push(ts, marker, e, clock)
		ts += uint32(e.Duration)
		payload, marker = payload[EventSize:], false
	}
	return r.next()
}

// Tick lets time pass and returns the oldest digit that is due. Call it once per packet time; elapsed is the time since
// the last call.
func (r *Receiver) Tick(elapsed time.Duration) (Digit, bool) {
	if r.idle += elapsed; r.idle > silenceEnds {
		r.idle = silenceEnds + 1 // it need not be known longer, and cannot overflow
		r.finish()
	}
	return r.next()
}

// Reset forgets the stream, which began anew (SSRC change). A press that lasts is reported at the next Push or Tick.
func (r *Receiver) Reset() {
	r.finish()
	r.seen = false
}

func (r *Receiver) push(ts uint32, marker bool, e Event, clock int) {
	if _, ok := KeyOf(e.Code); !ok {
		return
	}
	switch {
	case !r.seen:
		r.begin(ts, e, clock)
	case r.continues(ts, marker, e):
		r.now.before += segment
		r.now.ts, r.now.duration = ts, e.Duration
	case ts == r.now.ts && !r.restarted(marker, e):
		if e.Code != r.now.code {
			return // a packet cannot change what its event is
		}
		r.now.duration = max(r.now.duration, e.Duration)
	case r.stale(ts):
		return
	default:
		r.finish()
		r.begin(ts, e, clock)
	}
	r.idle = 0
	if e.End {
		r.finish()
	}
}

func (r *Receiver) begin(ts uint32, e Event, clock int) {
	r.now = press{code: e.Code, clock: clock, ts: ts, duration: e.Duration}
	r.seen = true
}

// continues reports whether a packet is of the next segment of the press at hand (RFC 4733 2.5.1.3).
func (r *Receiver) continues(ts uint32, marker bool, e Event) bool {
	p := &r.now
	d := ts - p.ts
	return !marker && e.Code == p.code && (d == segment || d == segment+1) &&
		int(p.duration) >= segment-p.clock/segmentLossDiv
}

// restarted reports whether a packet with the timestamp of the press at hand is a new press: some senders stop their
// timestamps while they send no audio. Only a beginning behind an end can be one, of another key or after a silence:
// a doubled or late packet is none.
func (r *Receiver) restarted(marker bool, e Event) bool {
	if !r.now.over || e.End {
		return false
	}
	return e.Code != r.now.code || marker && e.Duration < r.now.duration && r.idle >= bounce
}

// stale reports whether a packet is a late one of an event before the one at hand.
func (r *Receiver) stale(ts uint32) bool {
	behind := int64(int32(r.now.ts - ts))
	return behind > 0 && behind < int64(staleSeconds*r.now.clock)
}

// finish makes a digit of the press at hand unless that was done.
func (r *Receiver) finish() {
	if !r.seen || r.now.over {
		return
	}
	r.now.over = true
	if r.count == len(r.due) {
		return
	}
	key, _ := KeyOf(r.now.code)
	units := r.now.before + uint64(r.now.duration)
	r.due[r.count] = Digit{
		Key:      key,
		Duration: time.Duration(units) * time.Second / time.Duration(r.now.clock),
		Method:   RFC4733,
	}
	r.count++
}

func (r *Receiver) next() (Digit, bool) {
	if r.count == 0 {
		return Digit{}, false
	}
	d := r.due[0]
	r.count--
	copy(r.due[:], r.due[1:r.count+1])
	return d, true
}
