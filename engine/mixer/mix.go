package mixer

import (
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// memory is how many mixes an encoder that takes over is warmed with.
const memory = 3

// mix makes the next mix, from what every seat says in this packet time. thread is who asks, as media.Asker has it.
func (r *Room) mix(thread any) {
	r.number++
	r.retune()
	n := r.rate / perSecond
	r.remember(n)
	if len(r.sum) != n {
		r.sum = make([]int32, n)
	} else if r.sounds {
		clear(r.sum)
	}
	r.sounds = false
	for _, s := range r.seats {
		s.listen(thread)
		if len(s.voice) > 0 && s.state.Whisper == nil {
			s.mixed, r.sounds = true, true
			add(r.sum, s.voice)
		}
	}
	if r.played != nil {
		r.announce(thread)
	}
	if r.sounds {
		r.out = grow(r.out, n)
		for i, v := range r.sum {
			r.out[i] = limit(v)
		}
		r.full.SetPCM(r.rate, r.out)
	} else {
		r.full.SetSilence()
	}
	for i := 0; i < len(r.taps); i++ {
		if !r.tell(r.taps[i].to) {
			r.taps = append(r.taps[:i:i], r.taps[i+1:]...)
			i--
		}
	}
}

// remember keeps the mix at hand for encoders that take over.
func (r *Room) remember(n int) {
	if len(r.before) >= memory*n {
		r.before = r.before[:copy(r.before, r.before[len(r.before)-(memory-1)*n:])]
	}
	if r.sounds && len(r.out) == n {
		r.before = append(r.before, r.out...)
		return
	}
	for range n {
		r.before = append(r.before, 0)
	}
}

// announce adds what is played to all.
func (r *Room) announce(thread any) {
	p := r.played
	p.in.Asker = media.Asker{Thread: thread, Rate: r.rate}
	p.in.SetSilence()
	if !r.call(p.src, &p.in) {
		r.played = nil
		return
	}
	pcm, rate := p.in.PCM()
	if len(pcm) == 0 {
		return
	}
	if rate != r.rate {
		if p.resampler == nil || p.resampler.From() != rate || p.to != r.rate {
			p.resampler, _ = codec.NewResampler(rate, r.rate) // nil: a rate that no clip has
			p.to = r.rate
		}
		if p.resampler == nil {
			return
		}
		p.pcm = p.resampler.Resample(p.pcm[:0], pcm)
		pcm = p.pcm
	}
	r.sounds = true
	add(r.sum, pcm[:min(len(pcm), len(r.sum))])
}

// A feed is a source that is played into a room, or to a seat.
type feed struct {
	src       media.Source
	in        media.Frame
	resampler *codec.Resampler
	to        int
	pcm       []int16
}

func newFeed(src media.Source) *feed {
	if src == nil {
		return nil
	}
	return &feed{src: src}
}

// call is a boundary of recovery: a source that panics is over, and the room goes on.
func (r *Room) call(src media.Source, f *media.Frame) (ok bool) {
	defer func() {
		if recover() != nil {
			r.faults++
			f.SetSilence()
			ok = false
		}
	}()
	return src.ReadFrame(f) == nil
}

// tell is one for taps.
func (r *Room) tell(t media.Tap) (ok bool) {
	defer func() {
		if recover() != nil {
			r.faults++
			ok = false
		}
	}()
	t.Frame(media.In, &r.full)
	return true
}
