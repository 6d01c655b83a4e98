package api

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	at := time.Unix(0, 0)
	l := newLimiter(10, 3, func() time.Time { return at })
	take := func(key string) bool { ok, _, _ := l.take(key); return ok }
	for i := range 3 {
		if ok, left, _ := l.take("a"); !ok || left != 2-i {
			t.Fatalf("token %d: %v, %d left", i, ok, left)
		}
	}
	if ok, _, wait := l.take("a"); ok || wait != 100*time.Millisecond {
		t.Errorf("%v %v", ok, wait)
	}
	if !take("b") {
		t.Error("keys share a bucket")
	}
	at = at.Add(100 * time.Millisecond)
	if !take("a") || take("a") {
		t.Error("a token every 100 ms")
	}
	at = at.Add(time.Hour)
	for i := range 4 {
		if take("a") != (i < 3) {
			t.Errorf("token %d after an hour", i)
		}
	}
	at = at.Add(-time.Minute) // a clock set back takes nothing away, and gives nothing
	if take("a") {
		t.Error("a token from the past")
	}
	if got := l.policy(); got != `"default";q=3;w=1` {
		t.Error(got)
	}
	if got := l.state(1); got != `"default";r=1;t=1` {
		t.Error(got)
	}
}

func TestLimiterDefaults(t *testing.T) {
	if l := newLimiter(0, 0, time.Now); l.rate != 500 || l.burst != 1000 {
		t.Errorf("%v %v", l.rate, l.burst)
	}
	if l := newLimiter(0.1, 0, time.Now); l.burst != 1 {
		t.Errorf("%v", l.burst)
	}
}

func TestLimiterForgets(t *testing.T) {
	at := time.Unix(0, 0)
	l := newLimiter(1, 5, func() time.Time { return at })
	for i := range maxBuckets {
		l.take(fmt.Sprint(i))
	}
	at = at.Add(10 * time.Second)
	l.take("new")
	if len(l.buckets) != 1 {
		t.Errorf("%d buckets", len(l.buckets))
	}
}
