package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/media"
)

// keepOver is how long the engine itself remembers a call that is over: the log writes its record a moment later.
const keepOver = 5 * time.Second

// Options is what an Engine is made of. Sink, Directory and Prompts are required.
type Options struct {
	Node      string            // of events and calls
	Project   string            // of events that belong to none
	Sink      Sink              // takes every event
	Directory Directory         // finds applications
	Dialers   map[string]Dialer // by address scheme: "sip", "sips", "tel", "client"
	Prompts   Prompts           // finds audio
	Records   Records           // knows calls that are over; nil: nobody does
	Recorders Recorders         // makes recordings; nil: there are none
	Trails    Trails            // keeps the trails of calls; nil: calls have none
	NewID     func(prefix string) string
	Log       *slog.Logger

	MaxCalls      int           // at once; 0: no limit
	AskTimeout    time.Duration // for an application's answer, all tries together; 0: 30 s
	AnswerTimeout time.Duration // for an inbound call to be answered by its application; 0: 3 min
	HangupTimeout time.Duration // for a leg to say that it is over; 0: 5 s
	MaxDuration   time.Duration // of an answered call that has no limit of its own; 0: 4 h
}

// Prompts finds the audio that a play URL names. Clip may block; it is called by activities.
type Prompts interface {
	// Clip gives the audio and how often to play it if nobody says: -1 for a cadence, else 1.
	Clip(ctx context.Context, url string) (clip *media.Clip, loop int, err error)
}

// Records reads calls that are over.
type Records interface {
	Call(ctx context.Context, project, id string) (CallRecord, error)
}

// An Engine runs the calls of one node. Its methods may be called from any goroutine.
type Engine struct {
	o Options

	mu       sync.Mutex // guards the fields below, for lines, not for calls
	calls    map[string]*Call
	over     map[string]overCall // calls that ended in the last keepOver, until Records is sure to know them
	draining bool
	empty    chan struct{} // closed when draining and nothing is left
	tails    int           // recordings that are completed after their calls

	conferences map[string]*conference
	names       map[string]*conference    // by project and name
	overRooms   map[string]ConferenceInfo // as over

	trunks map[string]*trunkUse

	rejections rejections

	stats counters
}

// overCall is what is known of a call that ended a moment ago.
type overCall struct {
	record CallRecord
	trail  *Trail
	saved  bool // the trail
}

// New makes an Engine without calls.
func New(o Options) *Engine {
	if o.NewID == nil {
		o.NewID = id.New
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.AskTimeout = orDefault(o.AskTimeout, 30*time.Second)
	o.AnswerTimeout = orDefault(o.AnswerTimeout, 3*time.Minute)
	o.HangupTimeout = orDefault(o.HangupTimeout, 5*time.Second)
	o.MaxDuration = orDefault(o.MaxDuration, 4*time.Hour)
	return &Engine{
		o: o, calls: make(map[string]*Call), over: make(map[string]overCall), empty: make(chan struct{}),
		conferences: make(map[string]*conference), names: make(map[string]*conference),
		overRooms: make(map[string]ConferenceInfo), trunks: make(map[string]*trunkUse),
	}
}

// Do runs one command and returns when it has been accepted; what comes of it arrives as events. Its errors are
// *Error, or ctx's. This switch is the table of contents of the platform.
func (e *Engine) Do(ctx context.Context, cmd Command) (Reply, error) {
	began := time.Now()
	switch c := cmd.(type) {
	case *Originate:
		return e.originate(ctx, c)
	case *Inspect:
		return e.inspect(ctx, c)
	case *InspectTrail:
		return e.inspectTrail(c)
	case *Bridge:
		r, err := e.bridge(ctx, c)
		e.note(began, c, r, err)
		return r, err
	case Action: // see NewAction for all of them
		r, err := e.act(ctx, c)
		e.note(began, c, r, err)
		return r, err
	case *OpenConference:
		return e.openConference(c)
	case *InspectConference:
		return e.inspectConference(ctx, c)
	case ConferenceAction: // see NewConferenceAction
		return e.actOnConference(ctx, c)
	}
	return Reply{}, Errorf(CodeUnsupported, "this node does not know the command %T", cmd)
}

// Accept takes a call that arrived. It does not block. An *Error means that nobody took the leg: the door refuses it.
func (e *Engine) Accept(in Incoming, leg Leg) (*Call, error) {
	app, err := e.route(in)
	if err != nil {
		e.stats.refused.Add(1)
		return nil, err
	}
	c := newCall(e, leg)
	c.info.Direction = Inbound
	c.info.ProjectID, c.app = app.ProjectID, app
	c.info.ApplicationID = app.ID
	if p, ok := leg.(Preferrer); ok && len(app.Codecs) > 0 {
		if err := p.Prefer(app.Codecs); err != nil {
			e.stats.refused.Add(1)
			return nil, err
		}
	}
	c.info.From, c.info.To = in.From.URI, in.To.URI
	c.info.SIPCallID = in.SIPCallID
	c.from, c.to, c.key = in.From, in.To, in.Key
	if err := e.fromTrunk(c, in); err != nil {
		return nil, err
	}
	if err := e.add(c); err != nil {
		e.leaveTrunk(c)
		return nil, err
	}
	go c.run(func() { c.arrived(in) }) // ends with the leg
	return c, nil
}

// route finds who runs a call that arrived.
func (e *Engine) route(in Incoming) (Application, error) {
	if in.Application != nil {
		return *in.Application, nil
	}
	app, ok := e.o.Directory.Route(context.Background(), in.To.User())
	if !ok {
		return app, Errorf(CodeNoRoute, "no number matches %q: POST /v1/numbers maps one to an application", in.To.User())
	}
	return app, nil
}

// Calls is the number of calls that live on this node.
func (e *Engine) Calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

// Drain refuses new calls from now on and returns when no call is left, or with ctx's error.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	if !e.draining {
		e.draining = true
		e.checkEmpty()
	}
	for _, c := range e.conferences {
		c.post(c.endIfEmpty)
	}
	e.mu.Unlock()
	select {
	case <-e.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// HangupAll ends every call with cause, as a node does that must stop. It does not wait for them.
func (e *Engine) HangupAll(cause Cause) {
	e.mu.Lock()
	all := make([]*Call, 0, len(e.calls))
	for _, c := range e.calls {
		all = append(all, c)
	}
	e.mu.Unlock()
	for _, c := range all {
		c.post(func() { c.hangup(cause) })
	}
}

func (e *Engine) add(c *Call) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.draining:
		e.stats.refused.Add(1)
		return Errorf(CodeDraining, "this node is shutting down and takes no new calls")
	case e.o.MaxCalls > 0 && len(e.calls) >= e.o.MaxCalls:
		e.stats.refused.Add(1)
		return Errorf(CodeCapacity, "this node has %d calls, its limit", e.o.MaxCalls)
	}
	if _, taken := e.calls[c.info.ID]; taken {
		return Errorf(CodeConflict, "there is a call %s already", c.info.ID)
	}
	e.calls[c.info.ID] = c
	e.stats.started.Add(1)
	return nil
}

// forget removes a call that never began, retire one that is over.
func (e *Engine) forget(c *Call) {
	e.leaveTrunk(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(c)
}

func (e *Engine) retire(c *Call, r CallRecord) {
	e.leaveTrunk(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over[c.info.ID] = overCall{record: r, trail: c.trail}
	if c.trail != nil {
		time.AfterFunc(trailSettles, func() { e.saveTrail(c.info.ID) })
	}
	time.AfterFunc(keepOver, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.over, c.info.ID)
	})
	e.remove(c)
}

func (e *Engine) remove(c *Call) {
	delete(e.calls, c.info.ID)
	e.checkEmpty()
}

// checkEmpty tells Drain that nothing is left. The caller holds e.mu.
func (e *Engine) checkEmpty() {
	if !e.draining || len(e.calls)+len(e.conferences)+e.tails > 0 {
		return
	}
	select {
	case <-e.empty:
	default:
		close(e.empty)
	}
}

// linger counts what still has to be done after its call.
func (e *Engine) linger(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tails += n
	e.checkEmpty()
}

// find gives a call that lives here, or an error that says what became of it.
func (e *Engine) find(ctx context.Context, project, callID string) (*Call, error) {
	e.mu.Lock()
	c := e.calls[callID]
	last, over := e.over[callID]
	r := last.record
	e.mu.Unlock()
	if over && (project == "" || r.Info.ProjectID == project) {
		return nil, &endedError{record: r, Err: Errorf(CodeCallEnded, "the call %s is over", callID)}
	}
	if c != nil && (project == "" || c.info.ProjectID == project) { // neither changes after newCall
		return c, nil
	}
	if c == nil && e.o.Records != nil && strings.HasPrefix(callID, "call_") {
		if r, err := e.o.Records.Call(ctx, project, callID); err == nil {
			return nil, &endedError{record: r, Err: Errorf(CodeCallEnded, "the call %s is over", callID)}
		}
	}
	return nil, Errorf(CodeCallNotFound, "there is no call %q", callID)
}

// endedError is a CodeCallEnded with what is known of the call.
type endedError struct {
	record CallRecord
	Err    *Error
}

func (e *endedError) Error() string { return e.Err.Error() }
func (e *endedError) Unwrap() error { return e.Err }

func (e *Engine) inspect(ctx context.Context, cmd *Inspect) (Reply, error) {
	c, err := e.find(ctx, cmd.ProjectID, cmd.CallID)
	if ended, ok := errors.AsType[*endedError](err); ok {
		return Reply{Call: &ended.record.Info}, nil
	}
	if err != nil {
		return Reply{}, err
	}
	var info CallInfo
	err = c.visit(ctx, func() error { info = c.snapshot(); return nil })
	if ErrorCode(err) == CodeCallEnded { // between find and visit: its record is there when its loop has ended
		select {
		case <-c.done:
			return e.inspect(ctx, cmd)
		case <-ctx.Done():
			return Reply{}, ctx.Err()
		}
	}
	if err != nil {
		return Reply{}, err
	}
	return Reply{Call: &info}, nil
}

// act runs an action on one call.
func (e *Engine) act(ctx context.Context, a Action) (Reply, error) {
	if err := Validate(a); err != nil {
		return Reply{}, err
	}
	h := a.Head()
	c, err := e.find(ctx, h.ProjectID, h.CallID)
	if err != nil {
		return replayFrom(err, h.CommandID)
	}
	return c.command(ctx, a, func() error { return c.perform(a, outside) })
}

// replayFrom answers a command to a call that is over: if it had been accepted before, with what was said then.
func replayFrom(err error, commandID string) (Reply, error) {
	ended, ok := errors.AsType[*endedError](err)
	if !ok {
		return Reply{}, err
	}
	if _, seen := ended.record.Commands[commandID]; seen {
		return Reply{Call: &ended.record.Info, CommandID: commandID, Replayed: true}, nil
	}
	return Reply{}, ended.Err
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
