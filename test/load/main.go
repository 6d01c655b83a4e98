// Load drives a SIP B2BUA on this machine with calls and real RTP and measures what it costs: CPU and memory of the
// server's process, set-up time, one-way delay, loss.
//
//	load            w1 and w2, short
//	load w1 -rates 50,200,400 -seconds 8
//	load w2 -calls 100,500 -seconds 10
//	load w2 -calls 300 -idle
//
// It starts Tipring from this tree, or measures any server: -target host:port -pid N, where calls to load<N> must be
// bridged to the address that -callee gives. It sends to loopback addresses only.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/tipring/tipring/test/harness"
)

// Limits of what a run may ask for: this is a measuring device, not a weapon.
const (
	maxRate    = 3000
	maxCalls   = 2000
	maxSeconds = 120
)

type options struct {
	target, callee string
	pid            int
	rates, calls   []int
	seconds        int
	hold           time.Duration
	idle           bool
	out            string
}

// report is the JSON that a run writes.
type report struct {
	Time    time.Time  `json:"time"`
	Go      string     `json:"go"`
	Cores   int        `json:"cores"`
	Load    string     `json:"load_average"`
	W1      []w1Result `json:"w1,omitempty"`
	W2      []w2Result `json:"w2,omitempty"`
	Program string     `json:"server"`
}

func main() {
	err := run(os.Args[1:])
	harness.Cleanup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	which := []string{"w1", "w2"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		which, args = []string{args[0]}, args[1:]
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	defer signal.Stop(stop)

	rep := report{Time: time.Now().UTC(), Go: runtime.Version(), Cores: runtime.NumCPU(), Load: loadAverage(), Program: "tipring"}
	for _, w := range which {
		switch w {
		case "w1":
			rep.W1, err = ladder(o, stop)
		case "w2":
			rep.W2, err = relays(o, stop)
		default:
			err = fmt.Errorf("there is no workload %q: w1 or w2", w)
		}
		if err != nil {
			return err
		}
	}
	if o.target != "" {
		rep.Program = o.target
	}
	if o.out == "" {
		return nil
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, append(b, '\n'), 0o644)
}

func parse(args []string) (options, error) {
	var o options
	var rates, calls string
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&rates, "rates", "50,100,200,400", "w1: calls per second, one step each")
	f.StringVar(&calls, "calls", "100,250", "w2: calls at once, one step each")
	f.IntVar(&o.seconds, "seconds", 8, "w1: length of a step; w2: length of the measured window")
	f.DurationVar(&o.hold, "hold", time.Second, "w1: how long a call lasts")
	f.BoolVar(&o.idle, "idle", false, "w2: calls without RTP, for memory")
	f.StringVar(&o.target, "target", "", "host:port of a server that runs already; default: Tipring of this tree")
	f.IntVar(&o.pid, "pid", 0, "process of -target")
	f.StringVar(&o.callee, "callee", "127.0.0.1:0", "where the called side listens")
	f.StringVar(&o.out, "json", "", "file for the figures as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.rates, err = numbers(rates, maxRate); err != nil {
		return o, fmt.Errorf("-rates: %w", err)
	}
	if o.calls, err = numbers(calls, maxCalls); err != nil {
		return o, fmt.Errorf("-calls: %w", err)
	}
	if o.seconds < 1 || o.seconds > maxSeconds || o.hold < 0 || o.hold > maxSeconds*time.Second {
		return o, fmt.Errorf("-seconds is 1 to %d, -hold at most that", maxSeconds)
	}
	if o.target != "" && o.pid == 0 {
		return o, errors.New("-target needs -pid, whose CPU and memory are measured")
	}
	for _, a := range []string{o.target, o.callee} {
		if a == "" {
			continue
		}
		if p, err := netip.ParseAddrPort(a); err != nil || !p.Addr().IsLoopback() {
			return o, fmt.Errorf("%s: load goes to loopback addresses only", a)
		}
	}
	return o, nil
}

func numbers(s string, limit int) ([]int, error) {
	var out []int
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 || n > limit {
			return nil, fmt.Errorf("%q: numbers from 1 to %d, with commas between", s, limit)
		}
		out = append(out, n)
	}
	return out, nil
}
