package rtp

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tipring/tipring/engine/media"
)

const (
	packetTime  = 20 * time.Millisecond // of everything that sources give
	slotTime    = 2 * time.Millisecond
	slotsInTurn = int64(packetTime / slotTime)

	// maxCatchUp is how far behind a shard makes up for: what is older is left out, since a burst of old audio helps
	// nobody.
	maxCatchUp   = 100 * time.Millisecond
	publishEvery = 100 * time.Millisecond

	silentSamples = 960 // a packet time at 48 kHz
)

// A clock counts nanoseconds from the engine's start; it never goes back.
type clock struct{ start time.Time }

// A moment is a reading of the engine's clock.
type moment int64

func newClock() clock { return clock{start: time.Now()} }

func (c clock) now() moment { return moment(time.Since(c.start)) }

func (m moment) sub(earlier moment) time.Duration { return time.Duration(m - earlier) }

func (m moment) add(d time.Duration) moment { return m + moment(d) }

// A shard is a media thread and what it owns: sessions, their sockets, the wheel. Only post, stop and stats may be
// called from other threads.
type shard struct {
	engine *Engine
	index  int
	poll   *poller
	load   int // sessions at home here, guarded by engine.placing

	mu       sync.Mutex // guards what follows: the only meeting of the control side and the shard
	posted   []*Session
	rung     bool
	stopping bool

	now     moment // of the last waking
	tick    int64  // next slot to run, counted from the clock's zero
	slots   [slotsInTurn][]*Session
	halves  [slotsInTurn][]*Session       // sessions with packets of 10 ms send the second half here
	table   []*Session                    // by token
	unused  []int32                       // tokens
	count   int                           // sessions in table
	taken   []*Session                    // scratch of control
	buffer  [2048]byte                    // one packet
	from    rawAddress                    // its sender
	frame   media.Frame                   // of the session whose turn it is
	quiet   media.Frame                   // always silent
	silent  [silentSamples]byte           // scratch of comfort silence
	scratch [headerSize + maxPayload]byte // of a packet that is made here
	figures shardFigures
	public  publicFigures
}

func newShard(e *Engine, index int) (*shard, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &shard{engine: e, index: index, poll: poll}, nil
}

// run is the media thread, from New to stop. The thread is not given back: its priority is changed, so it dies with
// the goroutine.
func (sh *shard) run() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), sh.engine.options.Nice) // where the process may
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for sh.step(sh.untilNextSlot()) {
	}
	sh.poll.close()
}

// post asks the shard to run the closures of s.
func (sh *shard) post(s *Session) {
	sh.mu.Lock()
	sh.posted = append(sh.posted, s)
	ring := !sh.rung
	sh.rung = true
	sh.mu.Unlock()
	if ring {
		sh.poll.ring()
	}
}

func (sh *shard) stop() {
	sh.mu.Lock()
	sh.stopping = true
	sh.mu.Unlock()
	sh.poll.ring()
}

// step waits for packets, closures or the timeout, serves what came, and runs the slots that are due. It is false
// when the shard was stopped.
func (sh *shard) step(timeout time.Duration) bool {
	ready := sh.poll.wait(timeout)
	sh.now = sh.engine.clock.now()
	woken := sh.now
	goOn := true
	for i := range ready {
		if ready[i].Fd == bellToken {
			sh.poll.quiet()
			goOn = sh.control()
			continue
		}
		sh.receive(ready[i].Fd)
	}
	sh.runDueSlots()
	sh.figures.busy += sh.now.sub(woken)
	if sh.count == 0 || sh.now.sub(sh.public.at) > publishEvery {
		sh.public.publish(&sh.figures, sh.now)
	}
	return goOn
}

// control runs the closures that were handed over; false if the shard shall stop.
func (sh *shard) control() bool {
	sh.mu.Lock()
	sh.taken, sh.posted = sh.posted, sh.taken[:0]
	sh.rung = false
	goOn := !sh.stopping
	sh.mu.Unlock()
	for i, s := range sh.taken {
		s.apply(sh)
		sh.taken[i] = nil
	}
	return goOn
}

// receive reads one packet from the socket of a token. The set is level-triggered: if there are more, it says so
// again, and no socket can keep the shard to itself.
func (sh *shard) receive(token int32) {
	s := sh.table[token>>1]
	if s == nil {
		return // gone since the wait
	}
	if token&1 == 0 {
		s.receiveRTP(sh)
	} else {
		s.receiveRTCP(sh)
	}
}

// untilNextSlot is the time to the next slot that has work; negative if there is none.
func (sh *shard) untilNextSlot() time.Duration {
	if sh.count == 0 {
		return -1
	}
	next := sh.tick
	for range slotsInTurn {
		if i := next % slotsInTurn; len(sh.slots[i])+len(sh.halves[i]) > 0 {
			break
		}
		next++
	}
	return max(0, slotStart(next).sub(sh.engine.clock.now()))
}

func slotStart(tick int64) moment { return moment(tick * int64(slotTime)) }

// runDueSlots runs every slot whose time has come, late ones back to back.
func (sh *shard) runDueSlots() {
	sh.now = sh.engine.clock.now()
	due := int64(sh.now) / int64(slotTime)
	if sh.count == 0 {
		sh.tick = due + 1
		return
	}
	if behind := slotStart(due).sub(slotStart(sh.tick)); behind > maxCatchUp {
		sh.figures.slotsSkipped += uint64(due - sh.tick)
		sh.tick = due
	}
	for ; sh.tick <= due; sh.tick++ {
		if i := sh.tick % slotsInTurn; len(sh.slots[i])+len(sh.halves[i]) > 0 {
			sh.figures.lateness.record(sh.now.sub(slotStart(sh.tick)))
			sh.runSlot()
			sh.now = sh.engine.clock.now()
		}
	}
}

// runSlot gives everyone in the slot at hand his turn.
func (sh *shard) runSlot() {
	i, at := sh.tick%slotsInTurn, slotStart(sh.tick)
	for _, s := range sh.halves[i] {
		s.sendRest(sh)
	}
	for _, s := range sh.slots[i] {
		s.turn(sh, at)
	}
}

// turnNumber counts packet times.
func (sh *shard) turnNumber() int64 { return sh.tick / slotsInTurn }

// adopt takes s in: its sockets into the epoll set, itself into the emptiest slot, or into the one that it had
// elsewhere.
func (sh *shard) adopt(s *Session) error {
	if n := len(sh.unused); n > 0 {
		s.token, sh.unused = sh.unused[n-1], sh.unused[:n-1]
		sh.table[s.token] = s
	} else {
		s.token = int32(len(sh.table))
		sh.table = append(sh.table, s)
	}
	if sh.count == 0 {
		sh.tick = int64(sh.now)/int64(slotTime) + 1
	}
	sh.count++
	for i := range sh.slots {
		if !s.settledIn && len(sh.slots[i]) < len(sh.slots[s.slot]) {
			s.slot = i
		}
	}
	s.settledIn = true // a session that moves keeps its rhythm
	sh.slots[s.slot] = append(sh.slots[s.slot], s)
	sh.setHalf(s)
	sh.figures.sessions = sh.count
	if s.carried {
		return nil
	}
	if err := sh.poll.add(s.sockets.rtp.fd, s.token<<1); err != nil {
		return err
	}
	return sh.poll.add(s.sockets.rtcp.fd, s.token<<1|1)
}

// release takes s out. It must not be called while the wheel turns.
func (sh *shard) release(s *Session) {
	if !s.carried {
		sh.poll.remove(s.sockets.rtp.fd)
		sh.poll.remove(s.sockets.rtcp.fd)
	}
	sh.slots[s.slot] = without(sh.slots[s.slot], s)
	half := (int64(s.slot) + slotsInTurn/2) % slotsInTurn
	sh.halves[half] = without(sh.halves[half], s)
	sh.table[s.token] = nil
	sh.unused = append(sh.unused, s.token)
	sh.count--
	sh.figures.sessions = sh.count
}

// setHalf gives s a second slot in the turn if it sends packets of 10 ms, or takes it away.
func (sh *shard) setHalf(s *Session) {
	half := (int64(s.slot) + slotsInTurn/2) % slotsInTurn
	sh.halves[half] = without(sh.halves[half], s)
	if s.params.PacketTime == packetTime/2 {
		sh.halves[half] = append(sh.halves[half], s)
	}
}

// silence is a frame without audio, for who listens in.
func (sh *shard) silence() *media.Frame {
	sh.quiet.SetSilence()
	return &sh.quiet
}

func without(list []*Session, s *Session) []*Session {
	for i, t := range list {
		if t == s {
			n := len(list) - 1
			list[i], list[n] = list[n], nil
			return list[:n]
		}
	}
	return list
}
