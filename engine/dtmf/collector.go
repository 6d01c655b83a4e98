package dtmf

import (
	"strings"
	"time"
)

// Rules say what a Collector waits for.
type Rules struct {
	Min        int           // digits that make the input complete
	Max        int           // digits that end it; 0: DefaultMax
	FinishKeys string        // keys that end it and are not part of it
	First      time.Duration // wait for the first digit, from Start on; 0: for ever
	InterDigit time.Duration // wait for each further one; 0: for ever
}

// DefaultMax is how many digits a Collector takes if its Rules do not say.
const DefaultMax = 32

// Reason is why collecting ended.
type Reason string

// The reasons. ReasonCancelled is for whoever takes a Collector away before its end.
const (
	ReasonFinishKey Reason = "finish_key"
	ReasonMaxDigits Reason = "max_digits"
	ReasonTimeout   Reason = "timeout"
	ReasonCancelled Reason = "cancelled"
)

// A Collector gathers what a caller keys. It has no clock: its owner calls Expire at the Deadline. It is used by one
// goroutine at a time. Once it is done it stays as it is.
type Collector struct {
	rules    Rules
	digits   []byte
	deadline time.Time
	reason   Reason
	key      byte
}

// NewCollector makes a Collector. No time runs until Start or the first digit.
func NewCollector(r Rules) *Collector {
	if r.Max <= 0 {
		r.Max = DefaultMax
	}
	return &Collector{rules: r}
}

// Start begins the wait for the first digit: call it when the prompt has ended, or at once if there is none. It does
// nothing if a digit came before.
func (c *Collector) Start(now time.Time) {
	if c.Done() || len(c.digits) > 0 {
		return
	}
	c.wait(now, c.rules.First)
}

// Push takes a digit and reports whether collecting is done.
func (c *Collector) Push(d Digit, now time.Time) (done bool) {
	if c.Done() {
		return true
	}
	if strings.IndexByte(c.rules.FinishKeys, d.Key) >= 0 {
		c.key = d.Key
		return c.end(ReasonFinishKey)
	}
	c.digits = append(c.digits, d.Key)
	if len(c.digits) >= c.rules.Max {
		return c.end(ReasonMaxDigits)
	}
	c.wait(now, c.rules.InterDigit)
	return false
}

// Deadline is when Expire is to be called; the zero Time if no time runs. Every other call may change it.
func (c *Collector) Deadline() time.Time { return c.deadline }

// Expire ends the wait if its deadline has come and reports whether collecting is done.
func (c *Collector) Expire(now time.Time) (done bool) {
	if c.deadline.IsZero() || now.Before(c.deadline) {
		return c.Done()
	}
	return c.end(ReasonTimeout)
}

// Done reports whether collecting has ended.
func (c *Collector) Done() bool { return c.reason != "" }

// Complete reports whether at least Rules.Min digits were keyed.
func (c *Collector) Complete() bool { return len(c.digits) >= c.rules.Min }

// Result is what was keyed, why collecting ended ("" while it goes on) and the finish key, 0 if it was none.
func (c *Collector) Result() (digits string, reason Reason, key byte) {
	return string(c.digits), c.reason, c.key
}

func (c *Collector) wait(now time.Time, d time.Duration) {
	c.deadline = time.Time{}
	if d > 0 {
		c.deadline = now.Add(d)
	}
}

func (c *Collector) end(r Reason) bool {
	c.reason, c.deadline = r, time.Time{}
	return true
}
