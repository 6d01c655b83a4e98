package rtp

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tipring/tipring/engine/media"
)

func TestSessionsOfAKeyShareAShard(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 3})
	homes := map[string]*shard{}
	loads := map[*shard]int{}
	for i := range 30 {
		key := fmt.Sprint("session", i/3)
		s := open(t, e, key)
		if sh := homes[key]; sh != nil && sh != s.home {
			t.Errorf("%s is on shards %d and %d", key, sh.index, s.home.index)
		}
		homes[key] = s.home
		loads[s.home]++
	}
	if len(loads) != 3 {
		t.Errorf("30 sessions are on %d of 3 shards", len(loads))
	}
}

// a ↔ b, then a ↔ c and b ↔ d, across shards: who hears whom ends up together, and is heard.
func TestBridgesAcrossShards(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 3})
	var s [4]*Session
	var p [4]*phone
	for i := range s {
		s[i], p[i] = open(t, e, fmt.Sprint(i)), newPhone(t, mustPCMU())
		p[i].ssrc = uint32(i)
		s[i].Set(p[i].params())
		p[i].talk(s[i], func(int) []byte { return filled(0x10 + byte(i)) })
	}
	for round, pairs := range [][][2]int{{{0, 1}, {2, 3}}, {{0, 2}, {1, 3}}, {{3, 0}, {2, 1}}, {{0, 1}, {2, 3}}} {
		for _, pair := range pairs {
			a, b := pair[0], pair[1]
			s[a].Hear(s[b].Mic())
			s[b].Hear(s[a].Mic())
		}
		for _, pair := range pairs {
			for _, way := range [][2]int{{pair[0], pair[1]}, {pair[1], pair[0]}} {
				p[way[0]].wait(fmt.Sprintf("round %d: %d hears %d", round, way[0], way[1]), func(h []heard) bool {
					n := len(h)
					return n > 2 && h[n-1].Payload[0] == 0x10+byte(way[1]) && h[n-2].Payload[0] == 0x10+byte(way[1])
				})
			}
			e.placing.Lock()
			if s[pair[0]].home != s[pair[1]].home {
				t.Errorf("round %d: bridged sessions live on two shards", round)
			}
			e.placing.Unlock()
		}
	}
	for i := range p {
		checkStream(t, p[i].waitCount(0))
	}
}

// Many calls bridge, unbridge and hang up at once; then every shard is empty and every port is back.
func TestBridgingStorm(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 4, DrainPorts: -1})
	total := e.Stats().PortsFree
	const n = 24
	var all [n]*Session
	p := newPhone(t, mustPCMU())
	for i := range all {
		all[i] = open(t, e, fmt.Sprint(i))
		all[i].Set(p.params())
	}
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			for i := range 60 {
				a, b := all[(w*7+i*5)%n], all[(w*3+i*11+1)%n]
				a.Hear(b.Mic())
				b.Hear(a.Mic())
				if i%3 == 0 {
					remove := a.Tap(new(listener))
					b.Mute(media.In, i%2 == 0)
					remove()
				}
				if i%4 == 0 {
					a.Hear(nil)
				}
				if i == 50 {
					all[w].Close()
				}
			}
		})
	}
	workers.Wait()
	// Every group has one home, and is there.
	eventually(t, "all are at home", func() bool {
		e.placing.Lock()
		defer e.placing.Unlock()
		for s := range e.sessions {
			if s.owner.Load() != s.home || s.hears != nil && s.hears.home != s.home {
				return false
			}
		}
		return true
	})
	loads := 0
	e.placing.Lock()
	for _, sh := range e.shards {
		loads += sh.load
	}
	if loads != len(e.sessions) || loads != n-6 {
		t.Errorf("%d sessions counted on shards, %d open", loads, len(e.sessions))
	}
	e.placing.Unlock()
	for _, s := range all {
		s.Close()
	}
	eventually(t, "the engine is empty", func() bool {
		st := e.Stats()
		return st.Sessions == 0 && st.PortsFree == total
	})
	if len(e.keys) != 0 {
		t.Errorf("%d keys are kept", len(e.keys))
	}
}

func TestCloseDuringTheStorm(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 3})
	var sessions []*Session
	for range 12 {
		sessions = append(sessions, open(t, e, ""))
	}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 200 {
				sessions[(w+i)%12].Hear(sessions[(w*5+i*7)%12].Mic())
				if i == 100 {
					sessions[w].Close()
				}
			}
		})
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	workers.Wait()
	for i, s := range sessions {
		if _, ok := <-s.Events(); ok {
			t.Errorf("session %d lives on", i)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
