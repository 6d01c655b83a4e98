package engine

import "sync/atomic"

type counters struct {
	started, refused, ended, panics, digitsDropped, commandsRefused atomic.Uint64
}

// Stats are figures of an Engine since it was made.
type Stats struct {
	Active          int
	Draining        bool
	Conferences     int
	Started         uint64 // calls that the engine took or made
	Refused         uint64 // calls that it refused
	Ended           uint64
	Panics          uint64 // each ended one call
	DigitsDropped   uint64 // keyed when nobody gathered, beyond what is kept
	CommandsRefused uint64 // because a call's queue was full
}

// Stats is a copy of the figures so far.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	rooms, draining := len(e.conferences), e.draining
	e.mu.Unlock()
	return Stats{
		Active: e.Calls(), Draining: draining, Conferences: rooms, Started: e.stats.started.Load(), Refused: e.stats.refused.Load(), Ended: e.stats.ended.Load(),
		Panics: e.stats.panics.Load(), DigitsDropped: e.stats.digitsDropped.Load(),
		CommandsRefused: e.stats.commandsRefused.Load(),
	}
}
