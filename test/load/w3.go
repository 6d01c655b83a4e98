package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"gopkg.in/hraban/opus.v2"
)

// w3Result is a number of calls at once, PCMU on one side and Opus on the other.
type w3Result struct {
	cost
	Bare  float64 `json:"bare_libopus_us"` // to encode and decode the same 20 ms, on one thread
	Ratio float64 `json:"server_to_bare"`  // the server's CPU per call and 20 ms, all of it, to that
}

// judged is how many Opus streams are decoded after a run; it takes the generator a while.
const judged = 8

// transcodes is W3. A fresh server for each number.
func transcodes(o options, stop <-chan os.Signal) ([]w3Result, error) {
	fmt.Println("W3: bridged calls, PCMU ⇄ server ⇄ Opus, both directions")
	bare, err := bareOpus()
	if err != nil {
		return nil, err
	}
	var out []w3Result
	for i, n := range o.transcoded {
		c, err := transcode(o, n, stop)
		if err != nil {
			return out, err
		}
		r := w3Result{cost: c, Bare: bare}
		r.Ratio = c.PerCall / 100 * 20_000 / bare
		if i == 0 {
			r.header()
		}
		r.print()
		out = append(out, r)
	}
	for _, r := range out {
		fmt.Printf("%d calls: %.1f µs per call and 20 ms; bare libopus takes %.1f for the same frames: %.2f times\n",
			r.Calls, r.PerCall*200, r.Bare, r.Ratio)
	}
	fmt.Println()
	return out, nil
}

func transcode(o options, n int, stop <-chan os.Signal) (cost, error) {
	phones, browsers, err := transcodeCasts(n)
	if err != nil {
		return cost{}, err
	}
	e := &exercise{o: o, stop: stop, casts: []*cast{phones, browsers}, n: n, pace: 20}
	e.user = func(i int) string { return "load" + strconv.Itoa(i) }
	onCall := func(c *call) {
		if i, err := strconv.Atoi(strings.TrimPrefix(c.user, "load")); err == nil && i < n {
			browsers.connect(i, c.audio)
		}
	}
	if e.callee, err = newAgent(o.callee, func(string) int { return browsers.port() }, onCall); err != nil {
		return cost{}, err
	}
	defer e.callee.close()
	e.callee.opus.Store(true)
	if e.caller, err = newAgent("127.0.0.1:0", func(string) int { return phones.port() }, nil); err != nil {
		return cost{}, err
	}
	defer e.caller.close()
	if o.peer == peerRTPengine {
		var peer *rtpengine
		if peer, e.server, err = startRTPengine(); err != nil {
			return cost{}, err
		}
		e.connect = func(i int) (netip.AddrPort, error) {
			a, b, err := peer.connect(i, phones.port(), browsers.port(), true)
			if err == nil {
				browsers.connect(i, b)
			}
			return a, err
		}
	} else if e.server, err = serve(o, e.callee.addr); err != nil {
		return cost{}, err
	}
	defer e.server.stop()
	return e.run()
}

// transcodeCasts are n phones and n browsers, in pairs.
func transcodeCasts(n int) (phones, browsers *cast, err error) {
	if phones, err = newCast(); err != nil {
		return nil, nil, err
	}
	if browsers, err = newCast(); err != nil {
		return nil, nil, err
	}
	all := voices()
	half := len(all) / 2
	for i := range n {
		v, w := all[i%half], all[half+i%half]
		coded, err := w.opus()
		if err != nil {
			return nil, nil, err
		}
		p := &actor{says: v.pcmu(), shift: i * 7 % voiceFrames, echo: true}
		b := &actor{says: coded, shift: i * 11 % voiceFrames}
		p.hears = []*actor{b}
		if i < judged {
			b.hears, b.echo = []*actor{p}, true
			if b.opus, err = opus.NewDecoder(voiceRate, 1); err != nil {
				return nil, nil, fmt.Errorf("opus: %w", err)
			}
		}
		phones.actors, browsers.actors = append(phones.actors, p), append(browsers.actors, b)
	}
	return phones, browsers, nil
}

// bareOpus is the µs that libopus alone takes to encode 20 ms of a phone's voice as the server does by default
// (restricted low delay, complexity 0, 40 kbit/s, 8 kHz) and to decode 20 ms of a browser's, on one thread.
func bareOpus() (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v := newVoice(tones()[0])
	coded, err := v.opus()
	if err != nil {
		return 0, err
	}
	e, err := opus.NewEncoder(voiceRate, 1, opus.AppRestrictedLowdelay)
	if err != nil {
		return 0, err
	}
	if err := e.SetComplexity(0); err != nil {
		return 0, err
	}
	if err := e.SetBitrate(40_000); err != nil {
		return 0, err
	}
	d, err := opus.NewDecoder(voiceRate, 1)
	if err != nil {
		return 0, err
	}
	buf, pcm := make([]byte, 1000), make([]int16, 6*frameSize)
	best := time.Hour
	for range 20 {
		start := time.Now()
		for i := range voiceFrames {
			if _, err := e.Encode(v.pcm[i*frameSize:(i+1)*frameSize], buf); err != nil {
				return 0, err
			}
			if _, err := d.Decode(coded.packets[i], pcm); err != nil {
				return 0, err
			}
		}
		best = min(best, time.Since(start))
	}
	return float64(best.Nanoseconds()) / 1000 / voiceFrames, nil
}
