package media

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tipring/tipring/engine/codec"
)

// A track is a clip encoded in a codec, once for all who play it: each packet time by whoever comes to it first, in
// order, so that nobody has to encode more at a time than his own. It holds the clip twice, the second time as it follows
// its own end. The encoder has the codec's defaults and begins behind silence; so must the decoder.
type track struct {
	codec   codec.Codec
	length  int // packet times of the clip
	passes  [2][][]byte
	filled  atomic.Int64 // packet times of both passes that are there and never change
	filling sync.Mutex   // guards encoder and what is behind filled; held for one packet time at most
	encoder codec.Encoder
}

// packet is packet time k of both passes, whose PCM is given; nil if those before it are not there.
func (t *track) packet(k int, pcm []int16, rate int) []byte {
	if k >= int(t.filled.Load()) && !t.fill(k, pcm, rate) {
		return nil
	}
	return t.passes[k/t.length][k%t.length]
}

func (t *track) fill(k int, pcm []int16, rate int) bool {
	t.filling.Lock()
	defer t.filling.Unlock()
	if filled := int(t.filled.Load()); k != filled {
		return k < filled
	}
	pass := k / t.length
	if t.passes[pass] == nil {
		t.passes[pass] = make([][]byte, t.length)
	}
	p, err := encode(make([]byte, 0, 256), t.codec, t.encoder, pcm, rate)
	if err != nil || len(p) == 0 {
		return false
	}
	t.passes[pass][k%t.length] = slices.Clip(p)
	t.filled.Store(int64(k + 1))
	return true
}

// tracks are those of a clip.
type tracks struct {
	list atomic.Pointer[[]*track]
	mu   sync.Mutex // guards the making of a new one
}

// track is the clip in c; nil if there is nothing to spare: c is had from PCM as cheaply.
func (c *Clip) track(as codec.Codec) *track {
	if as.Bytewise() && c.rate == as.SampleRate || len(c.pcm) == 0 {
		return nil
	}
	if t := c.tracks.find(as); t != nil {
		return t
	}
	c.tracks.mu.Lock()
	defer c.tracks.mu.Unlock()
	if t := c.tracks.find(as); t != nil {
		return t
	}
	encoder, err := as.NewEncoder()
	if err != nil {
		return nil
	}
	if s, ok := encoder.(codec.Silencer); ok {
		s.EncodeSilence(nil, int(PacketTime/1e6))
	}
	n := c.frameSize()
	t := &track{codec: as, length: (len(c.pcm) + n - 1) / n, encoder: encoder}
	list := []*track{t}
	if old := c.tracks.list.Load(); old != nil {
		list = append(list, *old...)
	}
	c.tracks.list.Store(&list)
	return t
}

func (t *tracks) find(c codec.Codec) *track {
	if list := t.list.Load(); list != nil {
		for _, t := range *list {
			if t.codec.Same(c) {
				return t
			}
		}
	}
	return nil
}

// A tape is how far a player's listener has followed a track. Only who hears all of it in a row, from silence on, can go on
// with it: what a decoder makes of a packet depends on the ones before.
type tape struct {
	clip *Clip
	torn bool

	codec codec.Codec
	next  int // packet time of both passes
	last  int // sample of the clip behind the one that was heard last; 0: none was
}

// packet is what the listener gets for f, the clip's packet time turn of the first pass or, behind those, of a later one;
// nil: it has to be encoded for him alone.
func (t *tape) packet(f *Frame, c codec.Codec, turn int, pcm []int16, rate int) []byte {
	if turn == 0 {
		t.codec, t.next = c, 0
	}
	if !t.codec.Same(c) {
		t.last = 0
	}
	if t.torn || turn != t.next || !t.codec.Same(c) {
		t.tear(f)
		return nil
	}
	track := t.clip.track(c)
	if track == nil {
		t.tear(f)
		return nil
	}
	p := track.packet(turn, pcm, rate)
	if p == nil {
		t.tear(f)
		return nil
	}
	if t.next++; t.next == 2*track.length {
		t.next = track.length
	}
	t.last = (turn%track.length)*t.clip.frameSize() + len(pcm)
	return p
}

// tear ends the use of the track; f, the first frame without it, follows what was heard of it.
func (t *tape) tear(f *Frame) {
	t.torn = true
	if n := min(t.last, len(t.clip.pcm)); n > 0 {
		f.After(t.clip.pcm[max(0, n-3*t.clip.frameSize()):n])
		t.last = 0
	}
}
