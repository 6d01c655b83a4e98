package stream

import (
	"context"
	"sync"
	"time"
)

// commands runs commands: those of one key one after the other, in order; different keys side by side.
type commands struct {
	limit int // of commands under way, the waiting ones included

	mu      sync.Mutex
	queues  map[string][]func(context.Context)
	pending int
}

func newCommands(limit int) *commands {
	return &commands{limit: limit, queues: make(map[string][]func(context.Context))}
}

// submit takes f, or returns false if too much is under way. Each f gets a context of its own that ends after timeout.
func (c *commands) submit(ctx context.Context, key string, timeout time.Duration, f func(context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending >= c.limit {
		return false
	}
	c.pending++
	queue, running := c.queues[key]
	c.queues[key] = append(queue, f)
	if !running {
		go c.run(ctx, key, timeout) // ends when the key's queue is empty
	}
	return true
}

func (c *commands) run(ctx context.Context, key string, timeout time.Duration) {
	for {
		c.mu.Lock()
		queue := c.queues[key]
		if len(queue) == 0 {
			delete(c.queues, key)
			c.mu.Unlock()
			return
		}
		f := queue[0]
		c.queues[key] = queue[1:]
		c.mu.Unlock()

		within, cancel := context.WithTimeout(ctx, timeout)
		f(within)
		cancel()

		c.mu.Lock()
		c.pending--
		c.mu.Unlock()
	}
}

// bucket is a token bucket for one goroutine.
type bucket struct {
	rate, burst float64 // tokens per second; most tokens at once
	tokens      float64
	last        time.Time
}

func newBucket(rate, burst float64, now time.Time) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst, last: now}
}

// take takes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
