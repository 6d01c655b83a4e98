package rtp

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	last := -1
	for us := range uint64(3_000_000) {
		b := bucket(us)
		if b < last || b > last+1 {
			t.Fatalf("%d µs: bucket %d after %d", us, b, last)
		}
		if top := bucketTop(b); b < 95 && time.Duration(us)*time.Microsecond >= top {
			t.Fatalf("%d µs is in bucket %d, which ends at %v", us, b, top)
		}
		last = b
	}
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 1000 {
		h.record(time.Duration(i) * time.Microsecond)
	}
	h.record(-time.Second) // a slot cannot be early; a clock may say so
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 1: 999 * time.Microsecond} {
		if got := h.quantile(q); got < want || got > want*5/4 {
			t.Errorf("quantile %v: %v, want about %v", q, got, want)
		}
	}
	if h.max != 999*time.Microsecond {
		t.Errorf("max %v", h.max)
	}
}

func TestDropReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range dropReasons {
		if name := r.String(); seen[name] || name == "none" && r != dropNone {
			t.Errorf("reason %d is called %q", r, name)
		} else {
			seen[name] = true
		}
	}
}

// A shard that was late makes up for 100 ms, and leaves out what is older.
func TestLateSlots(t *testing.T) {
	for name, tc := range map[string]struct {
		late     time.Duration
		min, max int
		skips    bool
	}{
		"in time": {0, 0, 1, false},
		"90 ms":   {90 * time.Millisecond, 4, 5, false},
		"10 s":    {10 * time.Second, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			sh, s, _ := handSingle(t, mustPCMU(), nil)
			sh.engine.clock.start = sh.engine.clock.start.Add(-time.Hour)
			sh.pass(0)
			now := sh.engine.clock.now()
			sh.tick = int64(now)/int64(slotTime) + 1 - int64(tc.late/slotTime)
			before := s.turns
			sh.runDueSlots()
			spent := sh.engine.clock.now().sub(now)
			if spent > packetTime {
				t.Skip("the machine is too busy to tell")
			}
			if n := int(s.turns - before); n < tc.min || n > tc.max+1 {
				t.Errorf("%d turns, want %d to %d", n, tc.min, tc.max)
			}
			if (sh.figures.slotsSkipped > 0) != tc.skips {
				t.Errorf("%d slots skipped", sh.figures.slotsSkipped)
			}
			if tc.late > 0 && !tc.skips && sh.figures.lateness.max < tc.late/2 {
				t.Errorf("lateness %v", sh.figures.lateness.max)
			}
		})
	}
}

func TestAnIdleShardSleeps(t *testing.T) {
	_, sh := handEngine(t)
	if d := sh.untilNextSlot(); d >= 0 {
		t.Errorf("a shard without sessions wakes after %v", d)
	}
	open(t, sh.engine, "")
	sh.pass(0)
	if d := sh.untilNextSlot(); d < 0 || d > packetTime {
		t.Errorf("a shard with one session wakes after %v", d)
	}
}

// On kernels without epoll_pwait2 the deadline is met all the same.
func TestWaitInMilliseconds(t *testing.T) {
	_, sh := handEngine(t)
	sh.poll.nanoseconds = false
	begun := time.Now()
	for d := 2500 * time.Microsecond; d > 0; d = 2500*time.Microsecond - time.Since(begun) {
		if ready := sh.poll.wait(d); len(ready) != 0 {
			t.Fatal("nothing is ready, and it says so")
		}
	}
	sh.poll.ring()
	sh.poll.ring()
	if ready := sh.poll.wait(-1); len(ready) != 1 || ready[0].Fd != bellToken {
		t.Errorf("ready: %v", ready)
	}
	sh.poll.quiet()
	if ready := sh.poll.wait(0); len(ready) != 0 {
		t.Error("the bell rings on")
	}
}

// Sessions are spread over the slots, so that packets do not leave in one burst.
func TestSlotsAreStaggered(t *testing.T) {
	e, sh := handEngine(t)
	for range 30 {
		open(t, e, "same")
	}
	sh.pass(0)
	for i, slot := range sh.slots {
		if len(slot) != 3 {
			t.Errorf("slot %d has %d of 30 sessions", i, len(slot))
		}
	}
}
