package rtp

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// A network carries packets of 20 ms in virtual time to a jitter buffer that is popped each 20 ms.
type network struct {
	codec   codec.Codec
	packets int
	drift   float64 // of the sender's clock: 200e-6 is 200 ppm fast
	pause   func(n int) bool
	// transit is how long packet n takes; negative: it is lost.
	transit func(n int) time.Duration
	payload func(n int) []byte
}

// heardOf is what came out of it.
type heardOf struct {
	played, lost, silent int
	protected            int // lost ones with the payload behind them
	order                bool
	lag                  []time.Duration // at each pop while playing
	j                    *jitterBuffer
}

func (w network) run(t *testing.T) heardOf {
	t.Helper()
	if w.payload == nil {
		voice := filled(0x10) // loud
		w.payload = func(int) []byte { return voice }
	}
	type arrival struct {
		at moment
		n  int
	}
	start := moment(time.Hour)
	spacing := float64(packetTime) / (1 + w.drift)
	window := make([]arrival, 0, 64) // packets overtake each other by a second at most
	h := heardOf{order: true, j: newJitterBuffer(w.codec)}
	now, sent, last := start.add(7*time.Millisecond), 0, -1
	for sent < w.packets || len(window) > 0 {
		for sent < w.packets && start.add(time.Duration(float64(sent)*spacing)) <= now {
			if d := w.transit(sent); d >= 0 && (w.pause == nil || !w.pause(sent)) {
				window = append(window, arrival{start.add(time.Duration(float64(sent)*spacing) + d), sent})
			}
			sent++
		}
		slices.SortFunc(window, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		for len(window) > 0 && window[0].at <= now {
			n := window[0].n
			number := n
			if w.pause != nil {
				number = w.number(n)
			}
			h.j.push(header{sequence: uint16(number), timestamp: uint32(n) * h.j.step, ssrc: 1}, w.payload(n), window[0].at)
			window = window[1:]
		}
		p := h.j.pop(now)
		switch {
		case p != nil:
			h.played++
			if n := int(h.j.expect); int16(n-last) < 0 {
				h.order = false
			} else {
				last = n
			}
		case h.j.lost:
			h.lost++
			if h.j.following != nil {
				h.protected++
			}
		default:
			h.silent++
		}
		if h.j.playing {
			h.lag = append(h.lag, packetTime+h.j.delay.lag(h.j.play, now)) // play is behind what was heard
		}
		now = now.add(packetTime)
	}
	return h
}

// number is the sequence number of n: pauses take none.
func (w network) number(n int) int {
	number := 0
	for i := range n {
		if !w.pause(i) {
			number++
		}
	}
	return number
}

func steady(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// last is the mean delay over the last n pops.
func (h *heardOf) last(n int) time.Duration {
	var sum time.Duration
	tail := h.lag[max(0, len(h.lag)-n):]
	for _, d := range tail {
		sum += d
	}
	return sum / time.Duration(max(1, len(tail)))
}

// On a quiet network packets hardly wait: not much longer than the rhythm of the pops makes them.
func TestJitterOnAQuietNetwork(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	w := network{codec: mustPCMU(), packets: 3000, transit: func(int) time.Duration {
		return 20*time.Millisecond + time.Duration(r.IntN(int(time.Millisecond)))
	}}
	h := w.run(t)
	if h.lost > 5 || !h.order || h.j.unplayed() > 2 { // five starve when the last has come
		t.Errorf("%d lost, %d unplayed, in order: %v", h.lost, h.j.unplayed(), h.order)
	}
	if d := h.last(500); d > delayMargin+jitterSlack {
		t.Errorf("a delay of %v", d)
	}
}

// Jitter of 30 ms is learned: then nearly all packets are played, in a delay that is not much longer than it.
func TestJitterLearnsTheNetwork(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, transit := range map[string]func(int) time.Duration{
		"uniform": func(int) time.Duration { return time.Duration(r.IntN(int(30 * time.Millisecond))) },
		"reordered": func(n int) time.Duration {
			if n%10 == 0 {
				return 45 * time.Millisecond
			}
			return time.Millisecond
		},
		"bursts": func(n int) time.Duration { return time.Duration(3-n%4) * packetTime },
	} {
		t.Run(name, func(t *testing.T) {
			h := network{codec: mustPCMU(), packets: 6000, transit: transit}.run(t)
			if h.lost > 6000/30 || h.j.unplayed() > 6000/50 || !h.order {
				t.Errorf("%d lost, %d unplayed, in order: %v", h.lost, h.j.unplayed(), h.order)
			}
			if d := h.last(1000); d > 105*time.Millisecond {
				t.Errorf("a delay of %v", d)
			}
		})
	}
}

// What is lost is told once for each, and the delay does not grow.
func TestJitterWithLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	lost := 0
	h := network{codec: mustPCMU(), packets: 5000, transit: func(n int) time.Duration {
		if n > 0 && n < 4999 && r.IntN(20) == 0 {
			lost++
			return -1
		}
		return 20 * time.Millisecond
	}}.run(t)
	if d := h.lost - lost; d < -lost/20 || d > lost/20+5 {
		t.Errorf("%d were told as lost of %d", h.lost, lost)
	}
	if h.played < 5000-lost-lost/20 {
		t.Errorf("%d were played", h.played)
	}
	if d := h.last(500); d > delayMargin+jitterSlack {
		t.Errorf("a delay of %v", d)
	}
}

// Where the payload behind a lost one helps, it is there.
func TestJitterWaitsForProtection(t *testing.T) {
	opus, ok := codec.ByName("opus", 48_000)
	if !ok {
		t.Fatal("no Opus")
	}
	silence := opus.AppendSilence(nil, 20)
	payload := append(silence[:1:1], make([]byte, 30)...)
	r := rand.New(rand.NewPCG(1, 4))
	single := 0
	w := network{codec: opus, packets: 5000, payload: func(int) []byte { return payload }}
	last := false
	w.transit = func(n int) time.Duration {
		if last = n > 300 && !last && r.IntN(20) == 0; last {
			single++
			return -1
		}
		return 20 * time.Millisecond
	}
	h := w.run(t)
	if h.protected < single*9/10 {
		t.Errorf("%d of %d lost packets had the one behind them", h.protected, single)
	}
}

// An hour with a sender whose clock is off: one packet time is made up or left out in 100 s, no more.
func TestJitterWithClockDrift(t *testing.T) {
	for name, drift := range map[string]float64{"fast": 200e-6, "slow": -200e-6} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 5))
			const hour = 180_000
			h := network{codec: mustPCMU(), packets: hour, drift: drift, transit: func(int) time.Duration {
				return 20*time.Millisecond + time.Duration(r.IntN(int(2*time.Millisecond)))
			}}.run(t)
			if h.lost > 45 || h.j.unplayed() > 45 || !h.order {
				t.Errorf("%d made up, %d left out, in order: %v; 36 are due", h.lost, h.j.unplayed(), h.order)
			}
			for i, d := range h.lag[1000:] {
				if d < 0 || d > 60*time.Millisecond {
					t.Fatalf("a delay of %v after %d packets", d, i+1000)
				}
			}
		})
	}
}

// A far end that sends nothing while it says nothing: each talk-spurt is whole, and no pause is made up for for long.
func TestJitterWithPauses(t *testing.T) {
	speaks := func(n int) bool { return n%150 < 60 }
	h := network{
		codec: mustPCMU(), packets: 1500, transit: steady(20 * time.Millisecond),
		pause: func(n int) bool { return !speaks(n) },
	}.run(t)
	if h.played != 600 || !h.order {
		t.Errorf("%d were played of 600", h.played)
	}
	if h.lost > 10*(jitterStarving+1) {
		t.Errorf("%d were made up for in 10 pauses", h.lost)
	}
}

// A network that stands still for 300 ms and then gives all at once.
func TestJitterAfterAStall(t *testing.T) {
	h := network{codec: mustPCMU(), packets: 2000, transit: func(n int) time.Duration {
		if n >= 1000 && n < 1015 {
			return time.Duration(1015-n) * packetTime
		}
		return time.Millisecond
	}}.run(t)
	if h.lost > 2*jitterStarving+2 || h.played < 1980 {
		t.Errorf("%d played, %d lost, %d unplayed", h.played, h.lost, h.j.unplayed())
	}
	if d := h.last(200); d > 60*time.Millisecond {
		t.Errorf("the delay is still %v 16 s later", d)
	}
}
