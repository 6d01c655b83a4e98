package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// w1Result is a step of the ladder.
type w1Result struct {
	Rate          int     `json:"rate"` // calls/s offered
	Calls         int     `json:"calls"`
	Failed        int64   `json:"failed"`
	Retransmitted int64   `json:"retransmitted"` // by the generator: INVITE, BYE, and 200 for want of an ACK
	PerSecond     float64 `json:"completed_per_second"`
	CPUPerCall    float64 `json:"cpu_ms_per_call"`
	CPU           float64 `json:"cpu_percent_of_a_core"`
	SetupP50      float64 `json:"setup_ms_p50"`
	SetupP99      float64 `json:"setup_ms_p99"`
	SetupMax      float64 `json:"setup_ms_max"`
	RSSBefore     int64   `json:"rss_kib_before"`
	RSSAfter      int64   `json:"rss_kib_after"`
	Generator     float64 `json:"generator_percent_of_a_core"`
	LateMS        float64 `json:"generator_late_ms_p99"` // how late calls were begun: above a few ms the step says little
}

// ladder is W1: calls through the server at rising rates, each held for a moment, without RTP. One server all the way.
func ladder(o options, stop <-chan os.Signal) ([]w1Result, error) {
	noMedia := func(string) int { return 9 } // the discard port: nobody sends
	callee, err := newAgent(o.callee, noMedia, nil)
	if err != nil {
		return nil, err
	}
	defer callee.close()
	caller, err := newAgent("127.0.0.1:0", noMedia, nil)
	if err != nil {
		return nil, err
	}
	defer caller.close()
	s, err := serve(o, callee.addr)
	if err != nil {
		return nil, err
	}
	defer s.stop()

	w := &w1{caller: caller, callee: callee, server: s, o: o, stop: stop}
	if _, err := w.step(10, 1); err != nil { // the first calls pay for what is made once
		return nil, err
	}
	fmt.Println("W1: bridged call set-up, caller → server → callee, no RTP")
	fmt.Printf("%8s %7s %7s %7s %8s %9s %7s %9s %9s %9s %9s %9s %6s %8s\n", "calls/s", "calls", "failed", "retr", "done/s",
		"ms/call", "CPU %", "p50 ms", "p99 ms", "max ms", "RSS0 KiB", "RSS1 KiB", "gen %", "late ms")
	var out []w1Result
	for _, rate := range o.rates {
		r, err := w.step(rate, o.seconds)
		if err != nil {
			return out, err
		}
		out = append(out, r)
		fmt.Printf("%8d %7d %7d %7d %8.1f %9.2f %7.1f %9.2f %9.2f %9.2f %9d %9d %6.0f %8.1f\n", r.Rate, r.Calls, r.Failed, r.Retransmitted,
			r.PerSecond, r.CPUPerCall, r.CPU, r.SetupP50, r.SetupP99, r.SetupMax, r.RSSBefore, r.RSSAfter, r.Generator, r.LateMS)
	}
	fmt.Println()
	return out, nil
}

type w1 struct {
	caller, callee *agent
	server         *server
	o              options
	stop           <-chan os.Signal
	serial         int
}

// step offers rate calls per second for so many seconds and waits until all are over.
func (w *w1) step(rate, seconds int) (w1Result, error) {
	before, err := usageOf(w.server.pid)
	if err != nil {
		return w1Result{}, err
	}
	own, start := ownCPU(), time.Now()
	failed, sent := w.caller.failed.Load(), w.caller.retransmitted.Load()+w.callee.repeated.Load()
	var mu sync.Mutex
	var setups, late []time.Duration
	var open sync.WaitGroup
	n := rate * seconds
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		select {
		case <-w.stop:
			return w1Result{}, fmt.Errorf("interrupted")
		case <-time.After(time.Until(due)):
		}
		late = append(late, time.Since(due))
		w.serial++
		open.Add(1)
		w.caller.dial(fmt.Sprintf("load-%d-%d", os.Getpid(), w.serial), fmt.Sprintf("load%d", w.serial), w.server.sip, func(c *call) {
			mu.Lock()
			setups = append(setups, c.setup)
			mu.Unlock()
			time.AfterFunc(w.o.hold, func() { w.caller.hangup(c) })
		}, func(*call) { open.Done() })
	}
	open.Wait()
	took := time.Since(start)
	after, err := usageOf(w.server.pid)
	if err != nil {
		return w1Result{}, err
	}
	slices.Sort(setups)
	slices.Sort(late)
	r := w1Result{
		Rate: rate, Calls: n, Failed: w.caller.failed.Load() - failed,
		Retransmitted: w.caller.retransmitted.Load() + w.callee.repeated.Load() - sent,
		SetupP50:      ms(quantile(setups, 0.5)), SetupP99: ms(quantile(setups, 0.99)), SetupMax: ms(quantile(setups, 1)),
		RSSBefore: before.rss, RSSAfter: after.rss, LateMS: ms(quantile(late, 0.99)),
		CPU:       percent(after.cpu-before.cpu, took),
		Generator: percent(ownCPU()-own, took),
	}
	if done := n - int(r.Failed); done > 0 {
		r.PerSecond = float64(done) / took.Seconds()
		r.CPUPerCall = ms(after.cpu-before.cpu) / float64(done)
	}
	return r, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func percent(part, whole time.Duration) float64 { return 100 * float64(part) / float64(whole) }

// quantile of sorted durations, 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
