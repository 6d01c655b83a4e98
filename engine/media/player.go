package media

import (
	"io"
	"math"
	"sync"
	"time"
)

// LoopForever makes a Player repeat its clip until nobody pulls it.
const LoopForever = -1

// ramp is in how many milliseconds a player's loudness changes: no click.
const ramp = 5

// A Player is a Source that plays a Clip from its beginning. Repetitions join without a gap. Its methods may be called from
// any goroutine; what they change holds from the next packet time on.
type Player struct {
	clip  *Clip
	frame int // samples of a packet time
	done  chan struct{}

	mu     sync.Mutex // guards what follows, for lines
	tape   tape
	turns  int // packet times of the passes before the one at hand, at most one pass
	times  int // that the clip is still to be begun again; LoopForever
	next   int // sample of the clip
	played int // samples in all
	over   bool
	paused bool
	gain   float64 // that is wanted
	now    float64 // that the last packet time ended with
}

// NewPlayer makes a player that plays clip loop times: 0 and 1 once, LoopForever without end.
func NewPlayer(clip *Clip, loop int) *Player {
	p := &Player{
		clip: clip, frame: clip.frameSize(), done: make(chan struct{}), gain: 1, now: 1,
		tape: tape{clip: clip},
	}
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
	p.mu.Lock()
	defer p.mu.Unlock()
	f.SetSilence()
	target := p.gain
	if p.paused {
		if target = 0; p.now == 0 {
			return nil
		}
	}
	if p.next >= len(p.clip.pcm) && p.rewind() {
		p.turns = len(p.clip.pcm) / p.frame
	}
	begin, joined := p.next, false
	for len(f.pcm) < p.frame {
		if p.next >= len(p.clip.pcm) && !p.rewind() {
			break
		}
		joined = joined || p.next < begin
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
	p.played += len(f.pcm)
	p.mark(f, begin, !joined && target == 1 && p.now == 1)
	p.shape(f.pcm, target)
	for len(f.pcm) < p.frame {
		f.pcm = append(f.pcm, 0)
	}
	return nil
}

// mark tells f which packet time of the clip it is, begun at sample begin, as long as they come in a row and as they stand in
// the clip: then it was encoded for all, or is now. The first one that is not follows what the far end heard last.
func (p *Player) mark(f *Frame, begin int, plain bool) {
	if p.tape.torn || !plain || begin%p.frame != 0 {
		p.tape.tear(f)
		return
	}
	f.tape, f.turn = &p.tape, p.turns+begin/p.frame
}

// shape makes pcm as loud as it is to be, from the loudness of the packet time before on.
func (p *Player) shape(pcm []int16, target float64) {
	if target == 1 && p.now == 1 {
		return
	}
	from, n := p.now, min(len(pcm), p.clip.rate*ramp/1000)
	for i, v := range pcm {
		g := target
		if i < n {
			g = from + (target-from)*float64(i+1)/float64(n)
		}
		pcm[i] = int16(max(math.MinInt16, min(math.MaxInt16, math.Round(float64(v)*g))))
	}
	p.now = target
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

// Position is how much was played so far, repetitions included, pauses not.
func (p *Player) Position() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return samplesToTime(p.played, p.clip.rate)
}

// SetVolume changes how loud the player is, in dB; 0 is as recorded.
func (p *Player) SetVolume(db float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gain = math.Pow(10, db/20)
	if p.played == 0 {
		p.now = p.gain
	}
}

// Pause halts the player, which gives silence then, or lets it go on.
func (p *Player) Pause(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = on
	if p.played == 0 && on {
		p.now = 0
	}
}

// Seek goes on at d from the beginning of the clip; behind its end it is as if it had been played to it.
func (p *Player) Seek(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tape.torn = true
	p.next = min(len(p.clip.pcm), int(int64(max(0, d))*int64(p.clip.rate)/int64(time.Second)))
}
