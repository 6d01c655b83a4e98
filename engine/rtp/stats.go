package rtp

import (
	"math/bits"
	"sync"
	"time"
)

// A DropReason says why a packet went no further.
type DropReason uint8

// The reasons. They are counted per engine; those of what the far end sent also per session.
const (
	dropNone        DropReason = iota
	DropTruncated              // shorter than it says
	DropTooLong                // longer than a telephony packet can be
	DropVersion                // not RTP version 2
	DropPayloadType            // a number that was not negotiated, or before negotiation
	DropSource                 // from an address that the source rules refuse
	DropLearning               // plausible, but not yet enough of them to learn the address
	DropRTCP                   // malformed RTCP, or RTCP of a stranger
	DropLate                   // came after its time was played or passed on
	DropOverflow               // older than the jitter buffer may hold
	DropUnwanted               // an event or comfort noise that the hearing side did not negotiate
	DropSend                   // the socket refused to send it
	DropEvent                  // an Event of ours that nobody took from the session's channel
	dropReasons
)

// String is the reason as a metric's label.
func (r DropReason) String() string {
	switch r {
	case DropTruncated:
		return "truncated"
	case DropTooLong:
		return "too_long"
	case DropVersion:
		return "version"
	case DropPayloadType:
		return "payload_type"
	case DropSource:
		return "source"
	case DropLearning:
		return "learning"
	case DropRTCP:
		return "rtcp"
	case DropLate:
		return "late"
	case DropOverflow:
		return "overflow"
	case DropUnwanted:
		return "unwanted"
	case DropSend:
		return "send"
	case DropEvent:
		return "event"
	default:
		return "none"
	}
}

// Stats are an engine's figures since its start, at most 100 ms old.
type Stats struct {
	Sessions     int               // open now
	PortsFree    int               // pairs that could be opened now
	PacketsIn    uint64            // RTP accepted
	PacketsOut   uint64            // RTP sent
	Relayed      uint64            // RTP forwarded on arrival, part of PacketsOut
	Drops        map[string]uint64 // by DropReason
	SourceFaults uint64            // sources and taps that were ended because they panicked
	SlotsSkipped uint64            // slots left out because the shard was more than 100 ms late
	LatenessP50  time.Duration     // of slots, within 25 %
	LatenessP99  time.Duration
	LatenessMax  time.Duration
	Shards       []ShardStats
}

// ShardStats are the figures of one media thread.
type ShardStats struct {
	Sessions int
	Busy     time.Duration // time awake since the start
}

// shardFigures are owned by the shard's thread.
type shardFigures struct {
	sessions     int
	packetsIn    uint64
	packetsOut   uint64
	relayed      uint64
	drops        [dropReasons]uint64
	faults       uint64
	slotsSkipped uint64
	busy         time.Duration
	lateness     histogram
}

// publicFigures is a copy of the figures for other threads.
type publicFigures struct {
	mu      sync.Mutex
	figures shardFigures
	at      moment // owned by the shard
}

// publish copies f unless somebody is reading: the shard does not wait.
func (p *publicFigures) publish(f *shardFigures, now moment) {
	if p.mu.TryLock() {
		p.figures = *f
		p.at = now
		p.mu.Unlock()
	}
}

func (p *publicFigures) read() shardFigures {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.figures
}

// Stats is a copy of the engine's figures.
func (e *Engine) Stats() Stats {
	st := Stats{PortsFree: e.ports.available(time.Now()), Drops: make(map[string]uint64, dropReasons)}
	var all histogram
	for _, sh := range e.shards {
		f := sh.public.read()
		st.Sessions += f.sessions
		st.PacketsIn += f.packetsIn
		st.PacketsOut += f.packetsOut
		st.Relayed += f.relayed
		st.SourceFaults += f.faults
		st.SlotsSkipped += f.slotsSkipped
		for r := DropTruncated; r < dropReasons; r++ {
			st.Drops[r.String()] += f.drops[r]
		}
		all.add(&f.lateness)
		st.Shards = append(st.Shards, ShardStats{Sessions: f.sessions, Busy: f.busy})
	}
	st.LatenessP50, st.LatenessP99, st.LatenessMax = all.quantile(0.5), all.quantile(0.99), all.max
	return st
}

// A histogram counts durations in buckets of a quarter octave of microseconds.
type histogram struct {
	counts [96]uint64
	total  uint64
	max    time.Duration
}

func (h *histogram) record(d time.Duration) {
	h.max = max(h.max, d)
	h.total++
	h.counts[bucket(uint64(max(0, d/time.Microsecond)))]++
}

func bucket(us uint64) int {
	if us < 4 {
		return int(us)
	}
	octave := bits.Len64(us) - 3
	return min(95, 4*octave+int(us>>octave))
}

// bucketTop is the smallest value that no longer falls into bucket i.
func bucketTop(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) * time.Microsecond
	}
	octave := i/4 - 1
	return time.Duration((i%4+5)<<octave) * time.Microsecond
}

func (h *histogram) add(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile is the upper edge of the bucket that holds the q-th value.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen > rank {
			return min(bucketTop(i), h.max)
		}
	}
	return h.max
}
