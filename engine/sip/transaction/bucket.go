package transaction

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	bucketSets = 2048
	bucketWays = 4
)

// buckets is a token bucket per source address in a table of fixed size, so that memory does not depend on how many
// sources there are (or pretend to be). Where too many meet in a set, the fullest bucket makes room: a source that
// keeps sending keeps its own.
type buckets struct {
	rate, burst float64
	seed        maphash.Seed

	mu   sync.Mutex
	sets [][bucketWays]bucket
}

type bucket struct {
	source netip.Addr
	tokens float64
	at     time.Duration // when tokens was right
}

func newBuckets(rate float64, burst int) *buckets {
	return &buckets{rate: rate, burst: float64(burst), seed: maphash.MakeSeed(), sets: make([][bucketWays]bucket, bucketSets)}
}

// take takes a token of source and tells whether there was one. Sources of IPv6 count by their /64.
func (b *buckets) take(source netip.Addr, now time.Duration) bool {
	if source.Is6() {
		prefix, _ := source.WithZone("").Prefix(64)
		source = prefix.Addr()
	}
	set := maphash.Comparable(b.seed, source) % bucketSets
	b.mu.Lock()
	defer b.mu.Unlock()
	ways := &b.sets[set]
	fullest, most := &ways[0], -1.0
	for i := range ways {
		w := &ways[i]
		tokens := b.burst
		if w.source.IsValid() {
			tokens = min(b.burst, w.tokens+b.rate*(now-w.at).Seconds())
		}
		if w.source == source {
			w.tokens, w.at = tokens, now
			if tokens < 1 {
				return false
			}
			w.tokens--
			return true
		}
		if tokens > most {
			fullest, most = w, tokens
		}
	}
	*fullest = bucket{source: source, tokens: b.burst - 1, at: now}
	return true
}
