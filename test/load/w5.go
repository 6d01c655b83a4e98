package main

import (
	"fmt"
	"os"
)

// w5Result is the server's memory while calls come and go.
type w5Result struct {
	Calls []int   `json:"calls"`   // so far
	RSS   []int64 `json:"rss_kib"` // then
}

// churn is the flatness part of W5: so many short calls one after another, at 200 per second; memory is read five times.
// The memory of a call that stays is in w2 (-idle for one without audio), w3 and w4.
func churn(o options, stop <-chan os.Signal) (*w5Result, error) {
	noMedia := func(string) int { return 9 }
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
	const rate, readings = 200, 5
	fmt.Printf("W5: %d bridged calls at %d per second, one after another\n%8s %10s %7s\n", o.churn, rate, "calls", "RSS KiB", "failed")
	w := &w1{caller: caller, callee: callee, server: s, o: o, stop: stop}
	r := new(w5Result)
	done, failed := 0, int64(0)
	for range readings {
		step, err := w.step(rate, max(1, o.churn/rate/readings))
		if err != nil {
			return r, err
		}
		done, failed = done+step.Calls, failed+step.Failed
		r.Calls, r.RSS = append(r.Calls, done), append(r.RSS, step.RSSAfter)
		fmt.Printf("%8d %10d %7d\n", done, step.RSSAfter, failed)
	}
	fmt.Println()
	return r, nil
}
