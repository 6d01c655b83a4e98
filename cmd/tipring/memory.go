package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// tidyEvery is how often the node looks at its memory.
const tidyEvery = 5 * time.Second

// A tidier gives memory back to the system when call set-up is quiet. Setting up a call makes thirty times the garbage that
// the call keeps, and the collector, tuned to run seldom, leaves it lying until the next burst: most of what the process
// holds then is garbage. While calls come in nothing is done, so that no set-up pays for it.
type tidier struct {
	samples   []metrics.Sample
	allocated uint64 // in all, when last looked
	tidied    uint64 // in all, when last collected by us
}

func newTidier() *tidier {
	return &tidier{samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}}
}

// due reports whether it is worth collecting now: little was allocated since the last look, and much lies about.
func (t *tidier) due(allocated, objects, live, free uint64) bool {
	const quiet, worth = 24 << 20, 16 << 20
	fresh := allocated - t.allocated
	t.allocated = allocated
	if fresh > quiet || allocated-t.tidied < worth {
		return false
	}
	garbage := free
	if objects > live {
		garbage += objects - live
	}
	if garbage < worth {
		return false
	}
	t.tidied = allocated
	return true
}

func (t *tidier) look() bool {
	metrics.Read(t.samples)
	v := func(i int) uint64 { return t.samples[i].Value.Uint64() }
	return t.due(v(0), v(1), v(2), v(3))
}

// tidy looks at the memory until ctx ends.
func (n *node) tidy(ctx context.Context) error {
	t := newTidier()
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if t.look() {
				debug.FreeOSMemory()
			}
		case <-ctx.Done():
			return nil
		}
	}
}
