// Load drives a SIP B2BUA on this machine with calls and real RTP and measures what it costs: CPU and memory of the
// server's process, set-up time, one-way delay, loss.
//
//	load            all workloads, short
//	load w1 -rates 50,200,400 -seconds 8      call set-up
//	load w2 -calls 100,500 -seconds 10        relayed PCMU; -idle: calls without RTP, for memory
//	load w3 -transcoded 40,400                PCMU to Opus; -env TIPRING_OPUS_COMPLEXITY=5: other settings
//	load w4 -rooms 1x100,25x4,1x1000          conferences
//	load w5 -churn 10000                      memory while calls come and go
//	load compare -peer rtpengine -install     Debian's rtpengine (w2, w3) or janus (w4) on the same workload, in turns
//
// Audio is checked: in w2 each packet, in w3 and w4 the tones that voices carry, where they begin, and that nobody hears
// himself. The exit status is 1 when calls or audio were wrong, never for figures.
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
	transcoded     []int
	rooms          []shape
	churn          int
	env            []string // of the server
	peer           string   // that is measured in the place of Tipring
	install        bool
	rounds         int
	seconds        int
	hold           time.Duration
	idle           bool
	out            string
}

// shape is a number of rooms of a size.
type shape struct{ rooms, size int }

// report is the JSON that a run writes.
type report struct {
	Time    time.Time  `json:"time"`
	Go      string     `json:"go"`
	Cores   int        `json:"cores"`
	Load    string     `json:"load_average"`
	W1      []w1Result `json:"w1,omitempty"`
	W2      []w2Result `json:"w2,omitempty"`
	W3      []w3Result `json:"w3,omitempty"`
	W4      []w4Result `json:"w4,omitempty"`
	W5      *w5Result  `json:"w5,omitempty"`
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
	which := []string{"w1", "w2", "w3", "w4", "w5"}
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

	if which[0] == "compare" {
		return compare(o, stop)
	}
	rep := report{Time: time.Now().UTC(), Go: runtime.Version(), Cores: runtime.NumCPU(), Load: loadAverage(), Program: "tipring"}
	for _, w := range which {
		switch w {
		case "w1":
			rep.W1, err = ladder(o, stop)
		case "w2":
			rep.W2, err = relays(o, stop)
		case "w3":
			rep.W3, err = transcodes(o, stop)
		case "w4":
			rep.W4, err = conferences(o, stop)
		case "w5":
			rep.W5, err = churn(o, stop)
		default:
			err = fmt.Errorf("there is no workload %q: w1 to w5", w)
		}
		if err != nil {
			return err
		}
	}
	if o.target != "" {
		rep.Program = o.target
	}
	if o.out != "" {
		b, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.out, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return rep.broken()
}

// broken says what was wrong with calls or audio, whatever they cost.
func (r *report) broken() error {
	var errs []error
	for _, s := range r.W2 {
		if s.Up < s.Calls || s.Crossed > 0 || s.Changed > 0 {
			errs = append(errs, fmt.Errorf("w2: %d of %d calls up, %d packets in the wrong call, %d changed", s.Up, s.Calls, s.Crossed, s.Changed))
		}
	}
	check := func(name string, c cost) {
		if c.Up < c.Calls || c.Missing > 0 || c.Echoes > 0 {
			errs = append(errs, fmt.Errorf("%s: %d of %d calls up, %d tones missing, %d own echoes", name, c.Up, c.Calls, c.Missing, c.Echoes))
		}
	}
	for _, s := range r.W3 {
		check("w3", s.cost)
	}
	for _, s := range r.W4 {
		check("w4", s.cost)
	}
	return errors.Join(errs...)
}

func parse(args []string) (options, error) {
	var o options
	var rates, calls, transcoded, rooms, env string
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&rates, "rates", "50,100,200,400", "w1: calls per second, one step each")
	f.StringVar(&calls, "calls", "100,250", "w2: calls at once, one step each")
	f.IntVar(&o.seconds, "seconds", 8, "w1: length of a step; w2 to w4: length of the measured window")
	f.StringVar(&transcoded, "transcoded", "40", "w3: calls at once, one step each")
	f.StringVar(&rooms, "rooms", "1x50,10x4", "w4: rooms × participants, one step each")
	f.IntVar(&o.churn, "churn", 2000, "w5: calls in all")
	f.StringVar(&env, "env", "", "settings of the server, NAME=value with commas between")
	f.StringVar(&o.peer, "peer", "", "compare: rtpengine or janus")
	f.BoolVar(&o.install, "install", false, "compare: install the peer by apt-get first")
	f.IntVar(&o.rounds, "rounds", 2, "compare: how often each is measured")
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
	if o.transcoded, err = numbers(transcoded, maxCalls); err != nil {
		return o, fmt.Errorf("-transcoded: %w", err)
	}
	if o.rooms, err = shapes(rooms); err != nil {
		return o, fmt.Errorf("-rooms: %w", err)
	}
	if env != "" {
		o.env = strings.Split(env, ",")
	}
	if o.rounds < 1 || o.rounds > 20 {
		return o, errors.New("-rounds is 1 to 20")
	}
	if o.churn < 1 || o.churn > 1_000_000 {
		return o, errors.New("-churn is 1 to 1000000")
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

func shapes(s string) ([]shape, error) {
	var out []shape
	for f := range strings.SplitSeq(s, ",") {
		var r shape
		if n, err := fmt.Sscanf(strings.TrimSpace(f), "%dx%d", &r.rooms, &r.size); n != 2 || err != nil ||
			r.rooms < 1 || r.size < 1 || r.rooms > maxCalls || r.size > maxCalls || r.rooms*r.size > maxCalls {
			return nil, fmt.Errorf("%q: rooms x participants such as 1x100, up to %d in all, with commas between", f, maxCalls)
		}
		out = append(out, r)
	}
	return out, nil
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
