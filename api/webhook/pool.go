package webhook

// pool bounds what is under way, in all and per host, and lets hosts take turns. It belongs to one goroutine.
type pool[T any] struct {
	total, perHost int
	flying         int
	hosts          map[string]*poolHost[T]
	turns          []*poolHost[T] // hosts that may start something
}

type poolHost[T any] struct {
	name    string
	flying  int
	waiting []T
	turn    bool // it is in turns
}

func newPool[T any](total, perHost int) *pool[T] {
	return &pool[T]{total: total, perHost: perHost, hosts: make(map[string]*poolHost[T])}
}

// add queues v.
func (p *pool[T]) add(host string, v T) {
	h := p.hosts[host]
	if h == nil {
		h = &poolHost[T]{name: host}
		p.hosts[host] = h
	}
	h.waiting = append(h.waiting, v)
	p.enlist(h)
}

func (p *pool[T]) enlist(h *poolHost[T]) {
	if !h.turn && len(h.waiting) > 0 && h.flying < p.perHost {
		h.turn = true
		p.turns = append(p.turns, h)
	}
}

// next gives what may start now; done(host) must follow.
func (p *pool[T]) next() (v T, host string, ok bool) {
	if p.flying >= p.total || len(p.turns) == 0 {
		return v, "", false
	}
	h := p.turns[0]
	p.turns = p.turns[1:]
	h.turn = false
	v = h.waiting[0]
	h.waiting = h.waiting[1:]
	h.flying++
	p.flying++
	p.enlist(h)
	return v, h.name, true
}

// done gives the place of something that next gave back.
func (p *pool[T]) done(host string) {
	h := p.hosts[host]
	h.flying--
	p.flying--
	if h.flying == 0 && len(h.waiting) == 0 {
		delete(p.hosts, host)
		return
	}
	p.enlist(h)
}
