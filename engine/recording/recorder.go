package recording

import (
	"encoding/binary"
	"math"
	"sync/atomic"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// maxCodecs is how many codecs one recording may come in.
const maxCodecs = 8

// recorder is the tap. A line calls Frame once per turn for Out and then once for In, a room for In alone, so an Out
// begins a turn, and an In whose turn has one already. Time is counted in turns, whether or not anything was in them.
type recorder struct {
	disk    *Disk
	writer  *writer
	spec    engine.RecordingSpec
	in, out bool // what is recorded
	done    chan engine.RecordingResult

	mode   atomic.Uint32
	reason atomic.Pointer[string] // why it was asked to end

	// Between the media thread and the writer.
	ring    ring
	turn    atomic.Uint32 // the turn under way; those before it are complete in the ring
	dropped atomic.Uint32 // turns of which something did not fit
	codecs  [maxCodecs]codec.Codec

	// The media thread's.
	inside atomic.Bool // somebody is in Frame
	hasIn  bool        // the turn has its In
	known  int         // of codecs
	dropAt uint32      // the last turn that counts as dropped
}

// Modes of a recorder.
const (
	modeRunning uint32 = iota
	modeFill           // paused: silence
	modeCut            // paused: nothing
	modeEnded
)

var (
	_ engine.Recorder = (*recorder)(nil)
	_ media.RatedTap  = (*recorder)(nil)
)

func newRecorder(d *Disk, spec engine.RecordingSpec) *recorder {
	r := &recorder{disk: d, spec: spec, done: make(chan engine.RecordingResult, 1)}
	r.in, r.out = directions(spec.Options.Tracks)
	perTurn := pieceHead + 2*samplesPerTurn(spec.Rate)
	if r.in && r.out {
		perTurn *= 2
	}
	r.ring = newRing(max(turnsIn(d.o.Queue)*perTurn, 8192))
	r.writer = d.writers[int(d.next.Add(1))%len(d.writers)]
	return r
}

func samplesPerTurn(rate int) int {
	return codec.Codec{SampleRate: rate}.Samples(int(turnTime.Milliseconds()))
}

// Rate implements media.RatedTap.
func (r *recorder) Rate() int { return r.spec.Rate }

// Frame implements media.Tap.
func (r *recorder) Frame(d media.Direction, f *media.Frame) {
	if !r.inside.CompareAndSwap(false, true) {
		r.disk.dropped.Add(1) // two threads at once: while a line moves from one to the other
		return
	}
	if mode := r.mode.Load(); mode == modeRunning || mode == modeFill {
		turn := r.count(d)
		wanted := d == media.In && r.in || d == media.Out && r.out
		if wanted && mode == modeRunning && !f.Silent() {
			r.keep(turn, d, f)
		}
	}
	r.inside.Store(false)
}

// count advances time and returns the turn under way.
func (r *recorder) count(d media.Direction) uint32 {
	turn := r.turn.Load()
	if d == media.Out || r.hasIn || turn == 0 {
		turn++
		r.turn.Store(turn)
		r.hasIn = false
	}
	r.hasIn = r.hasIn || d == media.In
	return turn
}

// keep puts what f holds into the ring.
func (r *recorder) keep(turn uint32, d media.Direction, f *media.Frame) {
	p := piece{turn: turn, out: d == media.Out}
	payload := f.Payload()
	var pcm []int16
	ok := true
	switch {
	case f.Lost():
		p.kind = kindLost
		p.codec, ok = r.codecIndex(f.Codec())
	case len(payload) > 0:
		p.kind, p.length = kindPayload, len(payload)
		p.codec, ok = r.codecIndex(f.Codec())
	default:
		pcm, p.rate = f.PCM()
		p.kind, p.length = kindPCM, 2*len(pcm)
	}
	if ok && p.length <= math.MaxUint16 {
		var data []byte
		if data, ok = r.ring.reserve(&p); ok {
			copy(data, payload)
			for i, s := range pcm {
				binary.LittleEndian.PutUint16(data[2*i:], uint16(s))
			}
			r.ring.commit()
		}
	}
	if !ok && r.dropAt != turn {
		r.dropAt = turn
		r.dropped.Add(1)
		r.disk.dropped.Add(1)
	}
}

func (r *recorder) codecIndex(c codec.Codec) (uint8, bool) {
	for i := range r.codecs[:r.known] {
		if r.codecs[i].Same(c) {
			return uint8(i), true
		}
	}
	if r.known == maxCodecs {
		return 0, false
	}
	r.codecs[r.known] = c // the writer reads it behind the piece that names it
	r.known++
	return uint8(r.known - 1), true
}

// Pause implements engine.Recorder.
func (r *recorder) Pause(fill bool) {
	if fill {
		r.setMode(modeFill)
		return
	}
	r.setMode(modeCut)
}

// Resume implements engine.Recorder.
func (r *recorder) Resume() { r.setMode(modeRunning) }

// setMode does nothing to a recording that has ended.
func (r *recorder) setMode(mode uint32) {
	for {
		old := r.mode.Load()
		if old == modeEnded || r.mode.CompareAndSwap(old, mode) {
			return
		}
	}
}

// Stop implements engine.Recorder. The first reason counts.
func (r *recorder) Stop(reason string) {
	r.reason.CompareAndSwap(nil, &reason)
	r.mode.Store(modeEnded)
	poke(r.writer.wake)
}

// Done implements engine.Recorder.
func (r *recorder) Done() <-chan engine.RecordingResult { return r.done }
