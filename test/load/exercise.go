package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// cost is what so many calls with checked audio cost and how they sounded.
type cost struct {
	Calls       int     `json:"calls"`
	Up          int     `json:"up"`
	CPU         float64 `json:"cpu_percent_of_a_core"`
	PerCall     float64 `json:"cpu_percent_per_call"`
	PacketCPU   float64 `json:"cpu_us_per_packet"` // received or sent
	LossPercent float64 `json:"loss_percent"`
	DelayP50    float64 `json:"delay_ms_p50"`
	DelayP99    float64 `json:"delay_ms_p99"`
	Tones       int     `json:"tones_found"`
	Missing     int     `json:"tones_missing"` // listeners that did not hear somebody
	Echoes      int     `json:"own_echo"`      // speakers that heard themselves
	RSSPerCall  float64 `json:"rss_kib_per_call"`
	SetupP50    float64 `json:"setup_ms_p50"`
	Late        int64   `json:"generator_late_ticks"`
	Generator   float64 `json:"generator_percent_of_a_core"`
}

func (c *cost) header() {
	fmt.Printf("%6s %5s %8s %9s %8s %8s %8s %8s %6s %5s %5s %9s %8s %5s %6s\n", "calls", "up", "CPU %", "%/call", "µs/pkt",
		"loss %", "p50 ms", "p99 ms", "tones", "miss", "echo", "KiB/call", "setup ms", "late", "gen %")
}

func (c *cost) print() {
	fmt.Printf("%6d %5d %8.1f %9.3f %8.2f %8.3f %8.2f %8.2f %6d %5d %5d %9.1f %8.2f %5d %6.0f\n", c.Calls, c.Up, c.CPU, c.PerCall,
		c.PacketCPU, c.LossPercent, c.DelayP50, c.DelayP99, c.Tones, c.Missing, c.Echoes, c.RSSPerCall, c.SetupP50, c.Late, c.Generator)
}

// An exercise brings calls up, lets them talk for a window, and measures the server meanwhile.
type exercise struct {
	o      options
	stop   <-chan os.Signal
	server *server
	caller *agent
	callee *agent // nil: the calls end in the server
	casts  []*cast
	user   func(i int) string
	// connect brings call i up at a peer that speaks no SIP, and says where its RTP goes; nil: SIP.
	connect func(i int) (netip.AddrPort, error)
	n       int
	pace    int // calls per second of the set-up

	mu     sync.Mutex
	up     []*call
	setups []time.Duration
}

func (e *exercise) run() (cost, error) {
	for _, c := range e.casts {
		c.start()
	}
	stopped := sync.OnceFunc(func() {
		for _, c := range e.casts {
			c.close()
		}
	})
	defer stopped()
	before, err := usageOf(e.server.pid)
	if err != nil {
		return cost{}, err
	}
	if err := e.dial(); err != nil {
		return cost{}, err
	}
	e.mu.Lock()
	up, setups := slices.Clone(e.up), slices.Sorted(slices.Values(e.setups))
	e.mu.Unlock()
	r := cost{Calls: e.n, Up: len(up), SetupP50: ms(quantile(setups, 0.5))}
	if r.Up == 0 {
		return r, errors.New("no call came through")
	}
	late := e.late()
	from := time.Now()
	window := time.Duration(e.o.seconds) * time.Second
	for _, c := range e.casts {
		c.from.Store(from.UnixNano())
		c.until.Store(from.Add(window).UnixNano())
	}
	start, err := usageOf(e.server.pid)
	if err != nil {
		return r, err
	}
	own := ownCPU()
	if err := e.sleep(window); err != nil {
		return r, err
	}
	end, err := usageOf(e.server.pid)
	if err != nil {
		return r, err
	}
	took := time.Since(from)
	r.Generator, r.CPU = percent(ownCPU()-own, took), percent(end.cpu-start.cpu, took)
	r.PerCall = r.CPU / float64(r.Up)
	r.RSSPerCall = float64(end.rss-before.rss) / float64(r.Up)
	r.Late = e.late() - late
	for _, c := range up {
		e.caller.hangup(c)
	}
	stopped()
	e.judge(&r, end.cpu-start.cpu)
	return r, e.sleep(300 * time.Millisecond)
}

// dial brings the calls up and lets them settle.
func (e *exercise) dial() error {
	for i := range e.n {
		up := func(c *call) {
			e.mu.Lock()
			e.up = append(e.up, c)
			e.setups = append(e.setups, c.setup)
			e.mu.Unlock()
			e.casts[0].connect(i, c.audio)
		}
		if e.connect == nil {
			e.caller.dial(fmt.Sprintf("talk-%d-%d-%d", os.Getpid(), e.n, i), e.user(i), e.server.sip, up, nil)
		} else {
			began := time.Now()
			audio, err := e.connect(i)
			if err != nil {
				return err
			}
			up(&call{audio: audio, setup: time.Since(began), ended: true})
		}
		if err := e.sleep(time.Second / time.Duration(e.pace)); err != nil {
			return err
		}
	}
	return e.sleep(3 * time.Second)
}

func (e *exercise) late() (n int64) {
	for _, c := range e.casts {
		n += c.late.Load()
	}
	return n
}

func (e *exercise) judge(r *cost, cpu time.Duration) {
	var v verdict
	for _, c := range e.casts {
		for _, a := range c.actors {
			v.judge(a)
		}
	}
	slices.Sort(v.delays)
	r.DelayP50, r.DelayP99 = ms(quantile(v.delays, 0.5)), ms(quantile(v.delays, 0.99))
	r.Tones, r.Missing, r.Echoes = v.tones, v.missing, v.echoes
	if v.heard > 0 {
		r.LossPercent = 100 * float64(v.lost) / float64(v.heard+v.lost)
		r.PacketCPU = float64(cpu.Microseconds()) / float64(v.sent+v.heard)
	}
}

func (e *exercise) sleep(d time.Duration) error {
	select {
	case <-e.stop:
		return errors.New("interrupted")
	case <-time.After(d):
		return nil
	}
}

// voices are one for each tone.
func voices() []*voice {
	var out []*voice
	for _, hz := range tones() {
		out = append(out, newVoice(hz))
	}
	return out
}
