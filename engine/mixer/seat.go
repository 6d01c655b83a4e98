package mixer

import (
	"io"
	"math"
	"slices"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// A Seat is a place in a room: a Source of what it hears.
type Seat struct {
	room *Room
	mic  media.Source // nil: over
	rate int          // of its line's codec, in Hz

	// What follows is guarded by the room.
	state  State
	gain   float64
	in     media.Frame // what it says
	talk   detector
	rising *codec.Resampler // from the rate of its voice to that of the mix
	voice  []int16          // in the mix at hand; empty: none
	mixed  bool             // voice is in the sum
	heard  uint64           // the last mix that it had
	own    bool             // what it had last was made for it alone
	out    []int16
	played *feed // in the place of the mix
	gone   bool
}

var _ media.Gathering = (*Seat)(nil)

// Together is the room.
func (s *Seat) Together() any { return s.room }

// ReadFrame gives the mix without the seat's own voice; io.EOF after Leave.
func (s *Seat) ReadFrame(f *media.Frame) error {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		f.SetSilence()
		return io.EOF
	}
	if s.heard == r.number {
		r.mix(f.Asker.Thread)
	}
	s.heard = r.number
	s.give(f)
	return nil
}

// Set changes how the seat takes part, from the next mix on.
func (s *Seat) Set(st State) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.set(st)
}

func (s *Seat) set(st State) {
	r := s.room
	if st.Whisper != nil {
		st.Whisper = slices.Clone(st.Whisper)
	}
	s.state, s.gain = st, math.Pow(10, st.VolumeDB/20)
	r.coaches = slices.DeleteFunc(r.coaches, func(o *Seat) bool { return o == s })
	if len(st.Whisper) > 0 && !s.gone {
		r.coaches = append(r.coaches, s)
	}
}

// Play lets the seat hear src in the place of the mix; nil ends it. It ends by itself at src's io.EOF.
func (s *Seat) Play(src media.Source) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.played = newFeed(src)
}

// Speaking reports whether the seat talks.
func (s *Seat) Speaking() bool {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.talk.speaking
}

// Leave gives the seat up.
func (s *Seat) Leave() {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	s.set(State{})
	r.seats = slices.DeleteFunc(r.seats, func(o *Seat) bool { return o == s })
}

// listen reads what the seat says in this packet time and decides whether it is in the mix.
func (s *Seat) listen(thread any) {
	r := s.room
	s.voice, s.mixed = s.voice[:0], false
	if s.mic == nil {
		return
	}
	s.in.Asker = media.Asker{Thread: thread, Rate: r.rate}
	s.in.SetSilence()
	if !r.call(s.mic, &s.in) {
		s.mic = nil
	}
	var pcm []int16
	var rate int
	if !s.state.Muted && !mute(&s.in) {
		pcm, rate = s.in.PCM()
	}
	was := s.talk.talking
	heard := s.talk.hear(level(pcm))
	if s.talk.told != s.talk.speaking {
		s.talk.told = s.talk.speaking
		if r.o.Speaking != nil {
			r.o.Speaking(s, s.talk.speaking)
		}
	}
	if len(pcm) == 0 || !heard {
		s.rising = nil
		return
	}
	s.take(pcm, rate)
	ramp := min(r.rate/200, len(s.voice)) // 5 ms
	if !was {
		fadeIn(s.voice[:ramp])
	}
	if s.talk.last() {
		fadeOut(s.voice[len(s.voice)-ramp:])
	}
}

// take makes the seat's voice of pcm: at the rate of the mix, one packet time, as loud as it is to be.
func (s *Seat) take(pcm []int16, rate int) {
	r := s.room
	if rate == r.rate {
		s.voice = append(s.voice, pcm...)
	} else {
		if s.rising == nil || s.rising.From() != rate {
			s.rising, _ = codec.NewResampler(rate, r.rate) // nil: a rate that nobody decodes at
		}
		if s.rising != nil {
			s.voice = s.rising.Resample(s.voice, pcm)
		}
	}
	for n := r.rate / perSecond; len(s.voice) != n; {
		if len(s.voice) > n {
			s.voice = s.voice[:n]
			break
		}
		s.voice = append(s.voice, 0)
	}
	if s.gain != 1 {
		amplify(s.voice, s.gain)
	}
}

// give fills f with what the seat hears of the mix at hand.
func (s *Seat) give(f *media.Frame) {
	r := s.room
	if s.played != nil {
		if r.call(s.played.src, f) {
			s.own = true
			return
		}
		s.played = nil
	}
	whispers := r.whispersTo(s)
	switch {
	case s.state.Deafened:
		f.SetSilence()
	case !s.mixed && !whispers:
		s.own = false
		if !r.sounds {
			f.SetSilence()
			return
		}
		f.SetAlias(&r.full)
		return
	default:
		s.alone(f, whispers)
	}
}

// alone makes a mix for this seat: without its own voice, with what is whispered to it.
func (s *Seat) alone(f *media.Frame, whispers bool) {
	r := s.room
	n := r.rate / perSecond
	s.out = grow(s.out, n)
	mine := silentVoice(s.voice, s.mixed)
	for i := range s.out {
		v := r.sum[i]
		if mine != nil {
			v -= int32(mine[i])
		}
		if whispers {
			v += r.whisper(s, i)
		}
		s.out[i] = limit(v)
	}
	f.SetPCM(r.rate, s.out)
	if !s.own {
		f.After(r.before)
	}
	s.own = true
}

func silentVoice(voice []int16, mixed bool) []int16 {
	if !mixed {
		return nil
	}
	return voice
}

// whispersTo reports whether somebody speaks to s alone now.
func (r *Room) whispersTo(s *Seat) bool {
	for _, c := range r.coaches {
		if len(c.voice) > 0 && slices.Contains(c.state.Whisper, s) {
			return true
		}
	}
	return false
}

// whisper is sample i of what is whispered to s.
func (r *Room) whisper(s *Seat, i int) (v int32) {
	for _, c := range r.coaches {
		if i < len(c.voice) && slices.Contains(c.state.Whisper, s) {
			v += int32(c.voice[i])
		}
	}
	return v
}
