package media

import (
	"io"
	"sync/atomic"
	"time"
)

// LoopForever makes a Player repeat its clip until nobody pulls it.
const LoopForever = -1

// A Player is a Source that plays a Clip from its beginning. Repetitions join without a gap.
type Player struct {
	clip   *Clip
	frame  int   // samples of a packet time
	times  int   // that the clip is still to be begun again; LoopForever
	next   int   // sample of the clip
	played int64 // samples in all
	at     atomic.Int64
	over   bool
	done   chan struct{}
}

// NewPlayer makes a player that plays clip loop times: 0 and 1 once, LoopForever without end.
func NewPlayer(clip *Clip, loop int) *Player {
	p := &Player{clip: clip, frame: clip.rate * int(PacketTime/time.Millisecond) / 1000, done: make(chan struct{})}
	switch {
	case loop < 0:
		p.times = LoopForever
	case loop > 1:
		p.times = loop - 1
	}
	return p
}

// ReadFrame gives the next packet time, the last one filled up with silence, and io.EOF when all of it was given.
func (p *Player) ReadFrame(f *Frame) error {
	f.SetSilence()
	for len(f.pcm) < p.frame {
		if p.next == len(p.clip.pcm) && !p.rewind() {
			break
		}
		n := min(p.frame-len(f.pcm), len(p.clip.pcm)-p.next)
		f.pcm = append(f.pcm, p.clip.pcm[p.next:p.next+n]...)
		p.next += n
	}
	if len(f.pcm) == 0 {
		if !p.over {
			p.over = true
			close(p.done)
		}
		return io.EOF
	}
	f.rate = p.clip.rate
	p.played += int64(len(f.pcm))
	p.at.Store(p.played)
	for len(f.pcm) < p.frame {
		f.pcm = append(f.pcm, 0)
	}
	return nil
}

// rewind begins the clip again if it is to be.
func (p *Player) rewind() bool {
	if p.times == 0 || len(p.clip.pcm) == 0 {
		return false
	}
	if p.times > 0 {
		p.times--
	}
	p.next = 0
	return true
}

// Done is closed when the player is over, one packet time after its last frame was pulled. A player that is not pulled
// to its end is never done: whoever waits must also wait for what could take it off its line.
func (p *Player) Done() <-chan struct{} { return p.done }

// Position is how much was played so far, repetitions included. It may be called from any goroutine.
func (p *Player) Position() time.Duration { return samplesToTime(int(p.at.Load()), p.clip.rate) }
