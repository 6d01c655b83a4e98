package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// lastStep is the pause between tries after the others.
const lastStep = 6 * time.Hour

// pause is how long to wait after so many failed tries in a row (1 is after the first).
func pause(failures int) time.Duration {
	steps := [...]time.Duration{
		500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 30 * time.Second,
		5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	}
	if failures < 1 {
		return 0
	}
	if failures > len(steps) {
		return lastStep
	}
	return steps[failures-1]
}

// jittered adds up to a fifth, so that what failed together does not come back together.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/5) //nolint:gosec // not a secret
}

// retryAfter reads the header of a 429 or 503 (RFC 9110 10.2.3): seconds, or a date. 0 if there is none.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	v := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil {
		seconds = min(max(seconds, 0), int(lastStep/time.Second))
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), lastStep)
	}
	return 0
}
