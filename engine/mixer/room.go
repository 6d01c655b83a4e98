// Package mixer lets many hear each other: a room sums what its seats say, gives each seat the sum without its own voice,
// and tells who is talking. It has no clock: a room mixes when a seat asks for what it has not heard yet.
package mixer

import (
	"slices"
	"sync"

	"github.com/tipring/tipring/engine/media"
)

const (
	narrowband = 8000  // Hz: a room whose seats are all narrowband
	wideband   = 16000 // every other
	perSecond  = 50    // packet times
)

// Options of a Room.
type Options struct {
	// Speaking is told when a seat begins and ends to talk. It is called from a media thread with the room locked: it
	// must not block and must not call the room.
	Speaking func(s *Seat, on bool)
}

// A Room is a mix. Its methods, and those of its seats, may be called from any goroutine. Its sources are pulled with the
// room locked, so they must not call it.
type Room struct {
	o Options

	mu      sync.Mutex
	seats   []*Seat
	coaches []*Seat // those who whisper to somebody
	rate    int     // of the mix, in Hz
	number  uint64  // of the mix at hand
	sum     []int32 // what all hear, before the limiter
	out     []int16
	full    media.Frame // the same behind it, for all who do not speak
	before  []int16     // the last mixes before the one at hand, for encoders that take over
	sounds  bool        // anything is in the mix
	played  *feed       // to all
	taps    []*tap
	faults  uint64
}

// tap is one listener, known by its address.
type tap struct{ to media.Tap }

// NewRoom makes an empty room.
func NewRoom(o Options) *Room {
	r := &Room{o: o, rate: narrowband}
	r.full.Shared = true
	return r
}

// Join gives mic a seat. rate is the sample rate of the line's codec, in Hz: a room of narrowband seats alone mixes at
// 8 kHz, every other at 16 kHz.
func (r *Room) Join(mic media.Source, rate int, st State) *Seat {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Seat{room: r, mic: mic, rate: rate}
	if r.number > 0 {
		s.heard = r.number - 1 // the mix at hand is new to it: it makes none out of turn
	}
	s.talk.reset()
	r.seats = append(r.seats, s)
	s.set(st)
	return s
}

// retune sets the rate of the next mix by who is in.
func (r *Room) retune() {
	rate := narrowband
	if slices.ContainsFunc(r.seats, func(s *Seat) bool { return s.rate > narrowband }) {
		rate = wideband
	}
	if rate == r.rate {
		return
	}
	r.rate, r.before, r.sounds = rate, r.before[:0], false
	for _, s := range r.seats {
		s.rising = nil
	}
}

// Play lets all hear src, mixed with what the seats say; nil ends it. It ends by itself at src's io.EOF.
func (r *Room) Play(src media.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.played = newFeed(src)
}

// Tap lets t listen to the whole mix, as media.In, until remove is called.
func (r *Room) Tap(t media.Tap) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := &tap{to: t}
	r.taps = append(r.taps, entry)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taps = slices.DeleteFunc(r.taps, func(o *tap) bool { return o == entry })
	}
}

// Stats are the figures of a room.
type Stats struct {
	Seats  int
	Rate   int    // of the mix, in Hz
	Mixes  uint64 // made so far
	Faults uint64 // sources and taps that were ended because they panicked
}

// Stats is a copy of the figures.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Seats: len(r.seats), Rate: r.rate, Mixes: r.number, Faults: r.faults}
}

// State is how a seat takes part. The zero State speaks and hears.
type State struct {
	Muted    bool    // nobody hears it
	Deafened bool    // it hears nobody
	VolumeDB float64 // how loud others hear it
	// Whisper, if not nil, are the only seats that hear it, beside the mix (a coach); empty: nobody does (a monitor).
	Whisper []*Seat
}
