package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// w2Result is a number of calls at once.
type w2Result struct {
	Calls       int     `json:"calls"`
	Up          int     `json:"up"`
	CPU         float64 `json:"cpu_percent_of_a_core"`
	CPUPer100   float64 `json:"cpu_percent_per_100_calls"`
	PacketCPU   float64 `json:"cpu_us_per_packet"`
	Packets     int64   `json:"packets"`
	LossPercent float64 `json:"loss_percent"`
	DelayP50    float64 `json:"delay_ms_p50"`
	DelayP99    float64 `json:"delay_ms_p99"`
	DelayMax    float64 `json:"delay_ms_max"`
	Crossed     int     `json:"wrong_call"`
	Changed     int     `json:"changed_payload"`
	RSSPerCall  float64 `json:"rss_kib_per_call"`
	Late        int64   `json:"generator_late_ticks"` // over about 100 the delays are void
	Generator   float64 `json:"generator_percent_of_a_core"`
	Idle        bool    `json:"idle,omitempty"`
}

// relays is W2: so many calls at once, PCMU both ways; with -idle without RTP. A fresh server for each number.
func relays(o options, stop <-chan os.Signal) ([]w2Result, error) {
	fmt.Println("W2: bridged calls with PCMU both ways, caller ⇄ server ⇄ callee")
	fmt.Printf("%6s %5s %8s %9s %9s %9s %8s %8s %8s %8s %6s %7s %9s %5s %6s\n", "calls", "up", "CPU %", "%/100", "µs/pkt", "packets",
		"loss %", "p50 ms", "p99 ms", "max ms", "wrong", "changed", "KiB/call", "late", "gen %")
	var out []w2Result
	for _, n := range o.calls {
		r, err := relay(o, n, stop)
		if err != nil {
			return out, err
		}
		out = append(out, r)
		fmt.Printf("%6d %5d %8.1f %9.2f %9.2f %9d %8.3f %8.2f %8.2f %8.2f %6d %7d %9.1f %5d %6.0f\n", r.Calls, r.Up, r.CPU, r.CPUPer100, r.PacketCPU,
			r.Packets, r.LossPercent, r.DelayP50, r.DelayP99, r.DelayMax, r.Crossed, r.Changed, r.RSSPerCall, r.Late, r.Generator)
	}
	fmt.Println()
	return out, nil
}

// w2 is one number of calls.
type w2 struct {
	o      options
	n      int
	a, b   *side
	caller *agent
	callee *agent
	server *server
	peer   *rtpengine // in the place of SIP; nil: there is none
	pace   *pacer
	stop   <-chan os.Signal

	mu sync.Mutex
	up []*call
}

func relay(o options, n int, stop <-chan os.Signal) (w2Result, error) {
	w := &w2{o: o, n: n, stop: stop}
	var err error
	if w.a, err = newSide('a', n); err != nil {
		return w2Result{}, err
	}
	defer w.a.close()
	if w.b, err = newSide('b', n); err != nil {
		return w2Result{}, err
	}
	defer w.b.close()
	onCall := func(c *call) {
		if i, err := strconv.Atoi(strings.TrimPrefix(c.user, "load")); err == nil && i < n && !o.idle {
			to := c.audio
			w.b.legs[i].to.Store(&to)
		}
	}
	if w.callee, err = newAgent(o.callee, func(string) int { return w.b.port() }, onCall); err != nil {
		return w2Result{}, err
	}
	defer w.callee.close()
	if w.caller, err = newAgent("127.0.0.1:0", func(string) int { return w.a.port() }, nil); err != nil {
		return w2Result{}, err
	}
	defer w.caller.close()
	if err := w.serve(); err != nil {
		return w2Result{}, err
	}
	defer w.server.stop()
	w.a.done.Go(w.a.receive)
	w.b.done.Go(w.b.receive)
	w.pace = &pacer{sides: [2]*side{w.a, w.b}, stop: make(chan struct{})}
	if !o.idle {
		w.pace.done.Go(w.pace.run)
	}
	defer w.pace.done.Wait()
	defer close(w.pace.stop)
	return w.measure()
}

// serve starts what is measured.
func (w *w2) serve() (err error) {
	if w.o.peer == peerRTPengine {
		w.peer, w.server, err = startRTPengine()
		return err
	}
	w.server, err = serve(w.o, w.callee.addr)
	return err
}

// call brings call i up.
func (w *w2) call(i int) error {
	up := func(c *call) {
		w.mu.Lock()
		w.up = append(w.up, c)
		w.mu.Unlock()
		if !w.o.idle {
			to := c.audio
			w.a.legs[i].to.Store(&to)
		}
	}
	if w.peer == nil {
		w.caller.dial(fmt.Sprintf("relay-%d-%d-%d", os.Getpid(), w.n, i), fmt.Sprintf("load%d", i), w.server.sip, up, nil)
		return nil
	}
	a, b, err := w.peer.connect(i, w.a.port(), w.b.port(), false)
	if err != nil {
		return err
	}
	w.b.legs[i].to.Store(&b)
	up(&call{audio: a, ended: true})
	return nil
}

func (w *w2) measure() (w2Result, error) {
	before, err := usageOf(w.server.pid)
	if err != nil {
		return w2Result{}, err
	}
	for i := range w.n { // 50 calls/s
		if err := w.call(i); err != nil {
			return w2Result{}, err
		}
		if err := w.sleep(20 * time.Millisecond); err != nil {
			return w2Result{}, err
		}
	}
	if err := w.sleep(3 * time.Second); err != nil {
		return w2Result{}, err
	}
	w.mu.Lock()
	r := w2Result{Calls: w.n, Up: len(w.up), Idle: w.o.idle}
	w.mu.Unlock()
	if r.Up == 0 {
		return r, errors.New("no call came through")
	}
	window := time.Duration(w.o.seconds) * time.Second
	from := time.Now()
	w.open(from.UnixNano(), from.Add(window).UnixNano())
	late := w.pace.late.Load()
	start, err := usageOf(w.server.pid)
	if err != nil {
		return r, err
	}
	own := ownCPU()
	if err := w.sleep(window); err != nil {
		return r, err
	}
	end, err := usageOf(w.server.pid)
	if err != nil {
		return r, err
	}
	took := time.Since(from)
	r.Generator = percent(ownCPU()-own, took)
	if err := w.sleep(500 * time.Millisecond); err != nil { // the last packets arrive
		return r, err
	}
	r.CPU = percent(end.cpu-start.cpu, took)
	r.CPUPer100 = r.CPU / float64(r.Up) * 100
	r.RSSPerCall = float64(end.rss-before.rss) / float64(r.Up)
	r.Late = w.pace.late.Load() - late
	w.count(&r, end.cpu-start.cpu)
	w.mu.Lock()
	up := w.up
	w.mu.Unlock()
	for _, c := range up {
		w.caller.hangup(c)
	}
	return r, w.sleep(300 * time.Millisecond)
}

// open sets which packets count, by sending time.
func (w *w2) open(from, until int64) {
	w.pace.from.Store(from)
	w.pace.until.Store(until)
	for _, s := range w.pace.sides {
		s.mu.Lock()
		s.from, s.until = from, until
		s.mu.Unlock()
	}
}

func (w *w2) count(r *w2Result, cpu time.Duration) {
	var delays []time.Duration
	var sent, got int64
	for _, s := range w.pace.sides {
		s.mu.Lock()
		for i := range s.legs {
			sent += s.legs[i].sent.Load()
			got += s.legs[i].got
		}
		delays = append(delays, s.delays...)
		r.Crossed += s.crossed
		r.Changed += s.changed
		s.mu.Unlock()
	}
	slices.Sort(delays)
	r.Packets = sent
	if sent > 0 {
		r.LossPercent = 100 * float64(sent-got) / float64(sent)
		r.PacketCPU = float64(cpu.Microseconds()) / float64(sent)
	}
	r.DelayP50, r.DelayP99, r.DelayMax = ms(quantile(delays, 0.5)), ms(quantile(delays, 0.99)), ms(quantile(delays, 1))
}

func (w *w2) sleep(d time.Duration) error {
	select {
	case <-w.stop:
		return errors.New("interrupted")
	case <-time.After(d):
		return nil
	}
}
