package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
)

const (
	defaultRate = 500
	maxBuckets  = 10_000 // then the full ones are forgotten
)

// limiter is a token bucket per key. Only valid keys have buckets, so their number is that of the keys in use.
type limiter struct {
	rate  float64 // per second; ≤ 0: no limit
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate float64, burst int, now func() time.Time) *limiter {
	l := &limiter{rate: rate, burst: float64(burst), now: now, buckets: map[string]*bucket{}}
	if rate == 0 {
		l.rate = defaultRate
	}
	if burst <= 0 {
		l.burst = max(1, math.Ceil(2*l.rate))
	}
	return l
}

// take takes a token of a key's bucket. left is what remains; when it is empty wait says how long until there is one.
func (l *limiter) take(key string) (ok bool, left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[key]
	if b == nil {
		l.forgetFull(now)
		b = &bucket{tokens: l.burst, at: now}
		l.buckets[key] = b
	}
	b.tokens = min(l.burst, b.tokens+l.rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		return false, 0, time.Duration((1 - b.tokens) / l.rate * float64(time.Second))
	}
	b.tokens--
	return true, int(b.tokens), 0
}

// forgetFull drops buckets that are as good as new, when there are many.
func (l *limiter) forgetFull(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if b.tokens+l.rate*now.Sub(b.at).Seconds() >= l.burst {
			delete(l.buckets, key)
		}
	}
}

// policy and state are the fields RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers.
func (l *limiter) policy() string {
	return fmt.Sprintf(`"default";q=%d;w=%d`, int(l.burst), int(math.Ceil(l.burst/l.rate)))
}

func (l *limiter) state(left int) string {
	return fmt.Sprintf(`"default";r=%d;t=%d`, left, int(math.Ceil((l.burst-float64(left))/l.rate)))
}

// limitRate refuses the requests of a key that has used up its budget.
func (s *Server) limitRate(next http.Handler) http.Handler {
	if s.limits.rate < 0 {
		return next
	}
	policy := s.limits.policy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ok, left, wait := s.limits.take(requestOf(r.Context()).key.ID)
		w.Header().Set("RateLimit-Policy", policy)
		w.Header().Set("RateLimit", s.limits.state(left))
		if !ok {
			w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
			s.fail(w, r, engine.Errorf(problem.CodeRateLimited, "this key has used up its %v requests per second", s.limits.rate))
			return
		}
		next.ServeHTTP(w, r)
	})
}
