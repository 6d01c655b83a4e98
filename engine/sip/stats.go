package sip

import "sync/atomic"

// Stats counts what a Door did since it was made.
type Stats struct {
	Legs              int64  // that live now
	Inbound, Outbound uint64 // that began
	Refused           uint64 // inbound INVITEs without a common codec, a free port or an application
	SignalsDropped    uint64 // the engine did not read
	DigitsDoubled     uint64 // keys that came by RFC 4733 and INFO both, counted once
	Forks             uint64 // further 2xx to one INVITE, ended at once
	Glare             uint64 // 491 in either direction
	StrayAnswers      uint64 // 2xx to no INVITE of ours
}

type counters struct {
	legs                                                                     atomic.Int64
	inbound, outbound, refused, signalsDropped, doubled, forks, glare, stray atomic.Uint64
}

func (c *counters) began(l *Leg) {
	c.legs.Add(1)
	if l.inbound {
		c.inbound.Add(1)
	} else {
		c.outbound.Add(1)
	}
}

func (c *counters) ended() { c.legs.Add(-1) }

// Stats are the door's counters.
func (d *Door) Stats() Stats {
	c := &d.stats
	return Stats{
		Legs: c.legs.Load(), Inbound: c.inbound.Load(), Outbound: c.outbound.Load(), Refused: c.refused.Load(),
		SignalsDropped: c.signalsDropped.Load(), DigitsDoubled: c.doubled.Load(), Forks: c.forks.Load(),
		Glare: c.glare.Load(), StrayAnswers: c.stray.Load(),
	}
}
