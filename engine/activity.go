package engine

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

// An activity is what a call does with its audio. It runs in a goroutine of its own, has the line and not the call, and
// returns soon after ctx ends.
type activity func(ctx context.Context, l line) outcome

// outcome is what an activity has to tell when it is over.
type outcome struct {
	event string // "call.playback.completed"
	data  map[string]any
	asks  bool // the application may answer with instructions, if the program has none left
	// command is the id that the event carries, if it is not the action's own.
	command *string
	digits  *string // what a gather collected, for {digits}
	then    func()  // runs in the loop after the event
}

// running is the activity that has the line.
type running struct {
	action  Action
	origin  origin
	stop    context.CancelCauseFunc
	done    chan outcome    // capacity 1
	digits  chan dtmf.Digit // nil if it takes none
	bridged *bridge         // a bridge has no goroutine
	dialing *dialing
	seat    *seat // nor has a seat in a conference
	// playback is what a Play plays.
	playback *playback
	reason   string // why it was interrupted, if it was
}

// waiting is an action that begins when the running activity has ended.
type waiting struct {
	action Action
	origin origin
}

// origin is where an action came from.
type origin uint8

const (
	outside   origin = iota // REST, /v1/stream: replaces what runs
	inProgram               // the next instruction of the program
)

// Interruptions: why an activity's context ended.
var (
	errStopped  = errors.New("stopped")
	errReplaced = errors.New("replaced")
	errOver     = errors.New("call_ended")
)

// maxTyped digits are kept for the next gather, for as long as typeAhead.
const (
	maxTyped  = 32
	typeAhead = 10 * time.Second
)

// begin starts an action that occupies the line, after what runs now.
func (c *Call) begin(a Action, from origin) error {
	if err := c.canHear(a); err != nil {
		return err
	}
	if from == outside {
		c.asking = ""
		c.program.clear()
	}
	if c.running != nil {
		c.dropNext(errReplaced)
		c.next = &waiting{action: a, origin: from}
		c.interrupt(errReplaced)
		return nil
	}
	c.start(a, from)
	return nil
}

// canHear refuses what a call cannot do yet.
func (c *Call) canHear(a Action) error {
	if c.audible() || c.info.Direction == Inbound {
		return nil // an inbound call is answered first
	}
	return Errorf(CodeInvalidState, "the call is %s: %s needs an answered call", c.info.State, a.Name())
}

func (c *Call) audible() bool { return c.info.State == CallAnswered || c.early }

// start gives the line to an action. An inbound call that rings is answered first.
func (c *Call) start(a Action, from origin) {
	if _, dials := a.(*Bridge); !dials && !c.audible() {
		c.next = &waiting{action: a, origin: from}
		if err := c.pickUp(); err != nil {
			c.log.Warn("the call could not be answered", "error", err)
			c.dropNext(errOver)
			return
		}
		c.running = &running{action: new(Answer), origin: from, done: make(chan outcome, 1)}
		return
	}
	switch a := a.(type) {
	case *Play:
		b := new(playback)
		c.occupy(a, from, nil, c.engine.play(a, b))
		c.running.playback = b
	case *Gather:
		digits := make(chan dtmf.Digit, maxTyped)
		c.typeAhead(a, digits)
		c.occupy(a, from, digits, c.engine.gather(a))
	case *Echo:
		c.occupy(a, from, nil, echo(a))
	case *Wait:
		c.occupy(a, from, nil, wait(a))
	case *SendDTMF:
		c.occupy(a, from, nil, sendDTMF(c.leg, a))
	case *Bridge:
		c.dial(a, from)
	case *join:
		c.join(a, from)
	case *Join:
		c.takeSeat(a, from)
	}
}

// occupy runs an activity until it returns or is interrupted.
func (c *Call) occupy(a Action, from origin, digits chan dtmf.Digit, act activity) {
	ctx, stop := context.WithCancelCause(context.Background())
	r := &running{action: a, origin: from, stop: stop, done: make(chan outcome, 1), digits: digits}
	c.running = r
	l := line{ear: c.ear, mic: c.leg.Audio().Mic(), digits: digits}
	if p, ok := a.(*Play); ok {
		c.publish("call.playback.started", "", map[string]any{"url": p.URL})
	}
	go func() { // ends when act returns, soon after stop
		defer func() {
			if p := recover(); p != nil {
				c.engine.stats.panics.Add(1)
				c.log.Error("an activity panicked", "action", a.Name(), "panic", p, "stack", string(debug.Stack()))
				r.done <- failure(a, Errorf(CodeInternal, "a fault of ours: the log has it"))
			}
		}()
		r.done <- act(ctx, l)
	}()
}

// interrupt ends what runs; its outcome comes to conclude.
func (c *Call) interrupt(why error) {
	if c.running == nil || c.running.reason != "" {
		return
	}
	r := c.running
	r.reason = why.Error()
	switch {
	case r.bridged != nil:
		c.leaveBridge(r.bridged, why.Error())
	case r.seat != nil:
		c.giveUpSeat(r.seat, why.Error(), "")
	case r.dialing != nil:
		r.dialing.abandon(why)
	case r.stop != nil:
		r.stop(why)
	default: // an answer on its way: there is nothing to stop
		r.reason = ""
	}
}

// dropNext tells the end of an action that was accepted and never begun.
func (c *Call) dropNext(why error) {
	if c.next == nil {
		return
	}
	n := c.next
	c.next = nil
	if j, ok := n.action.(*join); ok {
		j.bridge.leave(c, why.Error(), nil)
	}
	c.publish("call.command.failed", n.action.Head().CommandID, map[string]any{
		"action": n.action.Name(), "code": CodeInvalidState, "detail": why.Error() + " before it began",
	})
}

// conclude tells the outcome of what ran and goes on.
func (c *Call) conclude(o outcome) {
	r := c.running
	c.running = nil
	if r.stop != nil {
		r.stop(nil)
	}
	commandID := r.action.Head().CommandID
	if o.command != nil {
		commandID = *o.command
	}
	if o.digits != nil {
		c.program.digits = *o.digits
	}
	asks := o.asks && c.next == nil && r.origin == inProgram && c.program.empty() && c.asksByHTTP() && r.reason == ""
	switch {
	case o.event == "":
	case asks:
		c.ask(o.event, commandID, o.data)
	default:
		c.publish(o.event, commandID, o.data)
	}
	if o.then != nil {
		o.then()
	}
	if c.ended || c.running != nil {
		return
	}
	if n := c.next; n != nil {
		c.next = nil
		c.start(n.action, n.origin)
		return
	}
	if !asks {
		c.step()
	}
}

// digit gives a key press to whom it concerns.
func (c *Call) digit(d dtmf.Digit) {
	c.publish("call.dtmf.received", "", map[string]any{
		"digit": string(d.Key), "duration_ms": d.Duration.Milliseconds(), "method": d.Method,
	})
	r := c.running
	switch {
	case r != nil && r.digits != nil:
		select {
		case r.digits <- d:
		default:
			c.engine.stats.digitsDropped.Add(1)
		}
	case r != nil && r.bridged != nil:
		r.bridged.pass(c, d)
	case len(c.typed) < maxTyped:
		c.typed = append(c.typed, typed{digit: d, at: time.Now()})
	default:
		c.engine.stats.digitsDropped.Add(1)
	}
}

// typeAhead gives a gather what was keyed since the last one. A finish key at its head belongs to the gather before:
// a caller who keys "1234#" where four digits were asked for means one thing.
func (c *Call) typeAhead(g *Gather, to chan<- dtmf.Digit) {
	head := true
	for _, t := range c.typed {
		if time.Since(t.at) > typeAhead || head && g.finishes(t.digit.Key) {
			continue
		}
		head = false
		to <- t.digit // it has room for all
	}
	c.typed = nil
}

// failure is the outcome of an action that could not be done.
func failure(a Action, err error) outcome {
	event := "call.command.failed"
	switch a.(type) {
	case *Play:
		event = "call.playback.failed"
	case *Bridge:
		event = "call.bridge.failed"
	}
	return outcome{event: event, data: map[string]any{"action": a.Name(), "code": ErrorCode(err), "detail": detail(err)}}
}

// detail is what a customer may read of err.
func detail(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "a fault of ours: the log has it"
}
