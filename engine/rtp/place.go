package rtp

import "github.com/tipring/tipring/engine/media"

// keyPlace is where the sessions of a key go.
type keyPlace struct {
	shard    *shard
	sessions int
}

// settle finds the shard for a new session: that of its key, else the one with the fewest sessions. The caller holds
// e.placing.
func (e *Engine) settle(key string) *shard {
	if p := e.keys[key]; p != nil {
		p.sessions++
		return p.shard
	}
	least := e.shards[0]
	for _, sh := range e.shards[1:] {
		if sh.load < least.load {
			least = sh
		}
	}
	if key != "" {
		e.keys[key] = &keyPlace{shard: least, sessions: 1}
	}
	return least
}

// hear records that s hears src and brings s to the shard of src if src is a mic of this engine. All that hear each
// other, directly or through others, have the same home: that is kept true here, under one lock, whatever the order
// in which calls are bridged.
func (e *Engine) hear(s *Session, src media.Source) {
	e.placing.Lock()
	defer e.placing.Unlock()
	if s.leaving {
		return
	}
	e.forget(s)
	if g, ok := src.(media.Gathering); ok {
		e.enter(s, g.Together())
	}
	if m, ok := src.(*mic); ok && m.session.engine == e && !m.session.leaving {
		s.bring(m.session.home)
		s.hears = m.session
		if m.session.heardBy == nil {
			m.session.heardBy = make(map[*Session]struct{}, 1)
		}
		m.session.heardBy[s] = struct{}{}
	}
	s.do(func(sh *shard) { s.setSource(sh, src) })
}

// leave takes s out of the picture; false if it had left before.
func (e *Engine) leave(s *Session) bool {
	e.placing.Lock()
	defer e.placing.Unlock()
	if s.leaving {
		return false
	}
	s.leaving = true
	e.forget(s)
	for t := range s.heardBy {
		t.hears = nil
	}
	clear(s.heardBy)
	s.home.load--
	delete(e.sessions, s)
	if p := e.keys[s.key]; p != nil {
		if p.sessions--; p.sessions == 0 {
			delete(e.keys, s.key)
		}
	}
	return true
}

// bring moves s, and all that are tied to it, to another home. The caller holds e.placing.
func (s *Session) bring(to *shard) {
	from := s.home
	if from == to {
		return
	}
	for _, t := range s.group() {
		t.home = to
		from.load--
		to.load++
		t.do(t.move(to))
	}
}

// enter brings s to the shard of a room, which is that of the first who heard it: a mix is made by one thread then. The
// caller holds e.placing.
func (e *Engine) enter(s *Session, room any) {
	p := e.rooms[room]
	if p == nil {
		p = &keyPlace{shard: s.home}
		e.rooms[room] = p
	}
	p.sessions++
	s.room = room
	s.bring(p.shard)
}

func (e *Engine) forget(s *Session) {
	if s.room != nil {
		if p := e.rooms[s.room]; p != nil {
			if p.sessions--; p.sessions == 0 {
				delete(e.rooms, s.room)
			}
		}
		s.room = nil
	}
	if s.hears != nil {
		delete(s.hears.heardBy, s)
		s.hears = nil
	}
}

// group is s and all that are tied to it by hearing.
func (s *Session) group() []*Session {
	seen := map[*Session]struct{}{s: {}}
	list := []*Session{s}
	visit := func(t *Session) {
		if _, ok := seen[t]; !ok {
			seen[t] = struct{}{}
			list = append(list, t)
		}
	}
	for i := 0; i < len(list); i++ {
		if list[i].hears != nil {
			visit(list[i].hears)
		}
		for t := range list[i].heardBy {
			visit(t)
		}
	}
	return list
}
