package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

// maxCommands bounds the command ids that a call, or a conference, remembers.
const maxCommands = 4096

// A Call is one party connected to the platform. Its loop owns all that stands below the mailbox; others post closures.
type Call struct {
	engine *Engine
	leg    Leg
	log    *slog.Logger
	move   chan struct{} // capacity 1: held by who connects this call with another

	mailbox

	info     CallInfo // ID, SessionID and ProjectID do not change after newCall
	app      Application
	from, to Address
	key      string // of the session: placement, and the prefix of Call-IDs
	webhook  string // the call's own, without an application
	onIdle   OnIdle

	maxDuration time.Duration // of an answered call

	ear       *ear
	early     bool // the far end hears us, or we it, before the answer
	answering bool // Leg.Answer was called
	parent    *dialing
	running   *running // what the call does with its audio now
	next      *waiting // what it does when running is over
	program   program
	asking    string // id of the event whose answer is awaited
	typed     []typed
	keying    []string // command ids of digits on their way out
	tape      *tape    // the recording under way, or the one being completed
	commands  map[string]string
	timers    []*time.Timer
	trail     *Trail      // nil: none is kept
	sampling  *time.Timer // of the trail
	ending    *Cause      // what Hangup was given
	ended     bool
}

// typed is a digit that nobody gathered when it came.
type typed struct {
	digit dtmf.Digit
	at    time.Time
}

func newCall(e *Engine, leg Leg) *Call {
	c := &Call{
		engine: e, leg: leg, move: make(chan struct{}, 1),
		mailbox:  newMailbox(maxQueue, func() { e.stats.commandsRefused.Add(1) }),
		commands: make(map[string]string), maxDuration: e.o.MaxDuration,
	}
	c.info = CallInfo{
		ID: e.o.NewID("call"), SessionID: e.o.NewID("sess"), State: CallInitiated, Node: e.o.Node,
		CreatedAt: time.Now().UTC(),
	}
	c.log = e.o.Log.With("call", c.info.ID, "session", c.info.SessionID)
	if e.o.Trails != nil {
		c.trail = new(Trail)
	}
	if leg != nil {
		c.ear = &ear{line: leg.Audio()}
		c.trace()
	}
	return c
}

// run is the call's loop. It ends when the leg is over, and with it the call.
func (c *Call) run(first func()) {
	defer c.over()
	first()
	signals := c.leg.Signals()
	for !c.ended {
		var outcomes chan outcome
		if c.running != nil {
			outcomes = c.running.done
		}
		select {
		case <-c.wake:
			for _, f := range c.take() {
				if f(); c.ended {
					break
				}
			}
		case s, ok := <-signals:
			if !ok {
				s = Signal{Kind: SignalEnded, Cause: &Cause{Reason: ReasonInternal, Source: SourceSystem}}
			}
			c.signal(s)
		case o := <-outcomes:
			c.conclude(o)
		}
	}
}

// over ends a call whose loop has returned or panicked. A panic ends this call and no other.
func (c *Call) over() {
	if r := recover(); r != nil {
		c.engine.stats.panics.Add(1)
		c.log.Error("call ended by a panic", "panic", r, "stack", string(debug.Stack()))
		cause := Cause{Reason: ReasonInternal, Source: SourceSystem}
		_ = c.leg.Hangup(context.Background(), cause) // the leg may be what panicked
		c.finishSafely(cause)
	}
	c.shut()
	for _, t := range c.timers {
		t.Stop()
	}
	if c.sampling != nil {
		c.sampling.Stop()
	}
	c.engine.stats.ended.Add(1)
	tape := c.tape
	if tape != nil {
		c.engine.linger(1) // until outlive is done
	}
	c.engine.retire(c, c.lastRecord())
	close(c.done)
	if tape != nil {
		c.engine.outlive(tape)
	}
}

// finishSafely publishes the end of a call whose state may be broken.
func (c *Call) finishSafely(cause Cause) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("the end of a call could not be told", "panic", r)
		}
	}()
	c.finish(cause)
}

// lastRecord is record for a call whose leg may be broken.
func (c *Call) lastRecord() (r CallRecord) {
	defer func() {
		if recover() != nil {
			r = CallRecord{Info: c.info, Commands: c.commands}
		}
	}()
	return c.record()
}

// visit runs f in the loop and returns its error. It is not for loops.
func (c *Call) visit(ctx context.Context, f func() error) error {
	return c.mailbox.visit(ctx, f, func() error { return Errorf(CodeCallEnded, "the call %s is over", c.info.ID) })
}

// command runs f in the loop once per command id.
func (c *Call) command(ctx context.Context, a Action, f func() error) (Reply, error) {
	h := a.Head()
	given := h.CommandID != ""
	if !given {
		h.CommandID = c.engine.o.NewID("cmd")
	}
	rep := Reply{CommandID: h.CommandID}
	err := c.visit(ctx, func() error {
		if given {
			if _, seen := c.commands[h.CommandID]; seen {
				info := c.snapshot()
				rep.Call, rep.Replayed = &info, true
				return nil
			}
		}
		if c.ending != nil || c.ended {
			return Errorf(CodeCallEnded, "the call %s is ending", c.info.ID)
		}
		if err := f(); err != nil {
			return err
		}
		c.remember(h.CommandID, given, a.Name())
		info := c.snapshot()
		rep.Call = &info
		return nil
	})
	if err != nil {
		return Reply{}, err
	}
	return rep, nil
}

// remember keeps an accepted command's id. Only ids that customers chose can come again.
func (c *Call) remember(commandID string, given bool, action string) {
	if given && len(c.commands) < maxCommands {
		c.commands[commandID] = action
	}
}

// snapshot is the call as it stands.
func (c *Call) snapshot() CallInfo {
	info := c.info
	info.Muted = slices.Clone(c.info.Muted)
	if c.running != nil {
		info.Activity = c.running.action.Name()
	}
	if c.leg != nil {
		q := c.leg.Audio().Quality()
		info.Media = &q
	}
	return info
}

// after posts f when d has passed, unless the call is over by then.
func (c *Call) after(d time.Duration, f func()) {
	c.timers = append(c.timers, time.AfterFunc(d, func() { c.post(f) }))
}

// ID is the call's id.
func (c *Call) ID() string { return c.info.ID }
