package rtp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// What an engine and its sessions refuse.
var (
	// ErrNoPorts says that every port pair of the range is in use or draining.
	ErrNoPorts = errors.New("rtp: no free port pair")
	// ErrClosed says that the session or the engine is closed.
	ErrClosed = errors.New("rtp: closed")
	// ErrNoTelephoneEvent says that the far end did not negotiate telephone-event.
	ErrNoTelephoneEvent = errors.New("rtp: telephone-event is not negotiated")
	// ErrBadDigit says that a digit string holds something else than 0-9 * # A-D and w.
	ErrBadDigit = errors.New("rtp: not a telephone key")
)

// Options of an engine. The zero value is usable.
type Options struct {
	Bind         netip.Addr    // local address of all sockets; default 0.0.0.0
	MinPort      int           // first port of the range, default 10000
	MaxPort      int           // last port of the range, default 19999. Even ports carry RTP, the next one RTCP
	Shards       int           // media threads, default GOMAXPROCS, at least 1
	Log          *slog.Logger  // default: discards
	DrainPorts   time.Duration // a freed port rests so long before it is used again, default 2 s; negative: not at all
	MediaTimeout time.Duration // without any packet, while both directions are on, until MediaLost; default 30 s
	Opus         codec.OpusOptions
	Nice         int // priority of the media threads, default −10; used where the process may
}

func (o *Options) setDefaults() {
	if !o.Bind.IsValid() {
		o.Bind = netip.IPv4Unspecified()
	}
	if o.MinPort == 0 && o.MaxPort == 0 {
		o.MinPort, o.MaxPort = 10000, 19999
	}
	if o.Shards <= 0 {
		o.Shards = max(1, runtime.GOMAXPROCS(0))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DrainPorts == 0 {
		o.DrainPorts = 2 * time.Second
	}
	if o.MediaTimeout == 0 {
		o.MediaTimeout = 30 * time.Second
	}
	if o.Nice == 0 {
		o.Nice = -10
	}
}

// An Engine owns the media threads and the port range of a process. Its methods may be called from any goroutine.
type Engine struct {
	options Options
	clock   clock
	shards  []*shard
	ports   *portPool
	running sync.WaitGroup // shards
	alive   sync.WaitGroup // sessions that a shard has not let go of

	placing  sync.Mutex // guards what follows, and the placement fields of sessions
	sessions map[*Session]struct{}
	keys     map[string]*keyPlace
	rooms    map[any]*keyPlace // by media.Gathering.Together
	closed   bool
}

// New opens the shards and starts their threads. The engine runs until Close.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	ports, err := newPortPool(o.MinPort, o.MaxPort, max(0, o.DrainPorts))
	if err != nil {
		return nil, err
	}
	e := &Engine{
		options: o, clock: newClock(), ports: ports,
		sessions: make(map[*Session]struct{}), keys: make(map[string]*keyPlace),
		rooms: make(map[any]*keyPlace),
	}
	for i := range o.Shards {
		sh, err := newShard(e, i)
		if err != nil {
			for _, sh := range e.shards {
				sh.poll.close()
			}
			return nil, fmt.Errorf("rtp: shard %d: %w", i, err)
		}
		e.shards = append(e.shards, sh)
	}
	for _, sh := range e.shards {
		e.running.Go(sh.run)
	}
	return e, nil
}

// Open makes a session on a random free port pair. Sessions with the same key share a shard; the empty key is no
// key. The error is ErrNoPorts, ErrClosed, or what the socket said.
func (e *Engine) Open(key string) (*Session, error) {
	port, err := e.ports.open(e.options.Bind)
	if err != nil {
		return nil, err
	}
	s := newSession(e, key, port)
	if !e.begin(s) {
		e.ports.release(port, time.Now())
		return nil, ErrClosed
	}
	return s, nil
}

// begin gives s its place; false if the engine is closed.
func (e *Engine) begin(s *Session) bool {
	e.placing.Lock()
	defer e.placing.Unlock()
	if e.closed {
		return false
	}
	e.sessions[s] = struct{}{}
	e.alive.Add(1)
	s.home = e.settle(s.key)
	s.home.load++
	s.owner.Store(s.home)
	s.do(s.attach)
	return true
}

// Close ends all sessions (each sends its RTCP BYE), then the shards, and waits for their threads.
func (e *Engine) Close() error {
	e.placing.Lock()
	if e.closed {
		e.placing.Unlock()
		return nil
	}
	e.closed = true
	open := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		open = append(open, s)
	}
	e.placing.Unlock()
	for _, s := range open {
		s.Close()
	}
	e.alive.Wait()
	for _, sh := range e.shards {
		sh.stop()
	}
	e.running.Wait()
	return nil
}
