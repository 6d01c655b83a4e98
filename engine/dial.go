package engine

import (
	"context"
	"time"
)

// defaultRingTimeout is how long a call that we make rings, in seconds.
const defaultRingTimeout = 60

// originate makes an outbound call.
func (e *Engine) originate(ctx context.Context, cmd *Originate) (Reply, error) {
	if err := Validate(cmd); err != nil {
		return Reply{}, err
	}
	spec := dialSpec{Originate: *cmd}
	if cmd.ApplicationID != "" {
		app, ok := e.o.Directory.Application(ctx, cmd.ProjectID, cmd.ApplicationID)
		if !ok {
			return Reply{}, Invalid("/application_id", "there is no application %q", cmd.ApplicationID)
		}
		spec.app = app
	}
	c, err := e.dial(spec)
	if err != nil {
		return Reply{}, err
	}
	return e.inspect(ctx, &Inspect{CallID: c.info.ID}) // it may be over already
}

// dialSpec is an outbound call to be.
type dialSpec struct {
	Originate
	app    Application
	key    string // of the session
	parent *dialing
}

// codecs are those to offer: the call's, else its application's, else its trunk's.
func (s *dialSpec) codecs(t *Trunk) []string {
	switch {
	case len(s.Codecs) > 0:
		return s.Codecs
	case len(s.app.Codecs) > 0 || t == nil:
		return s.app.Codecs
	}
	return t.Codecs
}

// dial makes the leg and the call of a spec. It does not block.
func (e *Engine) dial(spec dialSpec) (*Call, error) {
	to, err := ParseAddress(spec.To)
	if err != nil {
		return nil, at(err, "/to")
	}
	var from Address
	if spec.From != "" {
		if from, err = ParseAddress(spec.From); err != nil {
			return nil, at(err, "/from")
		}
	}
	dialer := e.o.Dialers[to.Scheme()]
	if dialer == nil {
		return nil, &Error{Code: CodeNoRoute, Pointer: "/to", Message: "this node cannot dial " + to.Scheme() + ": addresses"}
	}
	trunk, err := e.throughTrunk(&spec, to, &from)
	if err != nil {
		return nil, err
	}
	c := newCall(e, nil)
	if trunk != nil {
		c.info.TrunkID = trunk.ID
	}
	c.info.Direction = Outbound
	c.info.ID = orDefault(spec.CallID, c.info.ID)
	c.info.SessionID = orDefault(spec.SessionID, c.info.SessionID)
	c.info.ProjectID, c.info.ApplicationID, c.info.ClientState = spec.ProjectID, spec.app.ID, spec.ClientState
	c.info.From, c.info.To = from.URI, to.URI
	c.app, c.from, c.to, c.webhook, c.onIdle, c.parent = spec.app, from, to, spec.WebhookURL, spec.OnIdle, spec.parent
	c.key = orDefault(spec.key, c.info.SessionID)
	c.log = e.o.Log.With("call", c.info.ID, "session", c.info.SessionID)
	switch {
	case len(spec.Instructions) > 0:
		c.program.loaded = &Instructions{Instructions: spec.Instructions}
	case len(spec.app.Instructions) > 0 && spec.parent == nil:
		c.program.loaded = &Instructions{Instructions: spec.app.Instructions}
	}
	if err := e.add(c); err != nil {
		e.leaveTrunk(c)
		return nil, err
	}
	c.leg, err = dialer.Dial(context.Background(), Outgoing{
		ProjectID: spec.ProjectID, Key: c.key, CallID: c.info.ID, From: from, To: to, Headers: spec.Headers, Credentials: spec.Auth,
		Codecs: spec.codecs(trunk), Trunk: trunk,
	})
	if err != nil {
		e.forget(c)
		return nil, err
	}
	c.ear = &ear{line: c.leg.Audio()}
	if spec.parent == nil {
		c.trail.command(c.info.CreatedAt, "originate", "", &spec.Originate, outside, nil)
	}
	c.trace()
	go c.run(func() { c.dialled(spec) }) // ends with the leg
	return c, nil
}

// dialled begins the life of an outbound call.
func (c *Call) dialled(spec dialSpec) {
	ring := time.Duration(orDefault(spec.RingTimeoutS, defaultRingTimeout)) * time.Second
	c.after(ring, func() {
		if c.info.State != CallAnswered {
			c.hangup(Cause{Reason: ReasonNoAnswer, Source: SourceSystem})
		}
	})
	if spec.MaxDurationS > 0 {
		c.maxDuration = time.Duration(spec.MaxDurationS) * time.Second
	}
	data := map[string]any{}
	if c.parent != nil {
		data["dialled_by"] = c.parent.call.info.ID
	}
	c.publish("call.initiated", "", data)
}

// dialing is a bridge whose other call does not talk yet. Its methods named for the child's progress are called by
// the child's loop and post to the parent's; a nil dialing takes no interest.
type dialing struct {
	call   *Call // who waits
	child  *Call
	action *Bridge
	// Owned by call's loop:
	heard   bool // the far end is heard before it answers
	talking bool // the far end has answered
	over    bool
}

// dial originates the other side of a bridge.
func (c *Call) dial(a *Bridge, from origin) {
	d := &dialing{call: c, action: a}
	r := &running{action: a, origin: from, done: make(chan outcome, 1), dialing: d}
	c.running = r
	caller := a.From
	if caller == "" {
		caller = c.from.String()
		if c.info.Direction == Outbound {
			caller = c.to.String()
		}
	}
	child, err := c.engine.dial(dialSpec{
		Originate: Originate{
			ProjectID: c.info.ProjectID, SessionID: c.info.SessionID, From: caller, To: a.To, RingTimeoutS: a.RingTimeoutS,
			Headers: a.Headers, Auth: a.Auth, TrunkID: a.TrunkID, ClientState: a.ClientState, Codecs: a.Codecs,
			WebhookURL: c.webhook,
		},
		app: c.app, key: c.key, parent: d,
	})
	if err != nil {
		d.over = true
		r.done <- failure(a, err)
		return
	}
	d.child = child
	if c.audible() {
		c.ringback(d)
	}
}

// ringback lets the caller hear that it rings, until the far end is heard.
func (c *Call) ringback(d *dialing) {
	url := orDefault(d.action.Ringback, "tone:ringback")
	if url == "none" {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), promptTimeout)
	go func() { // ends when the tone is found or the time is over
		defer stop()
		p, err := c.engine.newPlayer(ctx, &Play{URL: url, Loop: -1})
		if err != nil {
			c.log.Warn("no ringback", "url", url, "error", err)
			return
		}
		c.post(func() {
			if !d.over && !d.heard {
				c.ear.hear(p)
			}
		})
	}()
}

func (d *dialing) post(f func(c *Call)) {
	if d == nil {
		return
	}
	d.call.post(func() {
		if !d.over {
			f(d.call)
		}
	})
}

func (d *dialing) ringing() {
	d.post(func(c *Call) {
		if !c.audible() && c.info.State == CallInitiated {
			if err := c.ring(false, ""); err != nil {
				c.log.Debug("the caller could not be told that it rings", "error", err)
			}
		}
	})
}

func (d *dialing) earlyMedia() {
	d.post(func(c *Call) {
		d.heard = true
		if !c.audible() {
			if err := c.ring(true, ""); err != nil {
				c.log.Debug("the caller cannot hear early media", "error", err)
				return
			}
		}
		c.ear.hear(d.child.leg.Audio().Mic())
		d.child.ear.hear(c.leg.Audio().Mic())
	})
}

// answered connects parent and child. It is called by the child's loop.
func (d *dialing) answered() {
	d.post(func(c *Call) {
		d.talking = true
		if c.info.State == CallAnswered {
			d.connect()
			return
		}
		if err := c.pickUp(); err != nil {
			c.log.Warn("the caller could not be answered", "error", err)
			c.interrupt(errOver)
		}
	})
}

// connect bridges parent and child, from the parent's loop, when both talk.
func (d *dialing) connect() {
	d.over = true
	c, child := d.call, d.child
	br := &bridge{a: c, b: child}
	c.running.dialing = nil
	c.joined(c.running, br)
	child.post(func() {
		if child.running != nil { // somebody else has given it something to do
			c.post(func() { c.peerLeft(br, errReplaced.Error(), nil) })
			return
		}
		child.join(&join{Bridge: &Bridge{With: c.info.ID}, bridge: br}, outside)
	})
}

// childEnded tells the parent that its bridge came to nothing.
func (d *dialing) childEnded(cause Cause) {
	d.post(func(c *Call) {
		d.over = true
		c.ear.hear(nil)
		data := map[string]any{
			"to": d.action.To, "call_id": d.child.info.ID, "cause": cause.Reason, "code": cause.Reason,
			"detail": "the other side did not answer",
		}
		if cause.SIPStatus != 0 {
			data["sip_status"] = cause.SIPStatus
		}
		c.running.done <- outcome{event: "call.bridge.failed", data: data, asks: true}
	})
}

// abandon gives up dialling, from the parent's loop.
func (d *dialing) abandon(why error) {
	if d.over {
		return
	}
	d.over = true
	c, child := d.call, d.child
	c.ear.hear(nil)
	child.post(func() { child.hangup(Cause{Reason: ReasonCancelled, Source: SourceCaller}) })
	c.running.done <- outcome{event: "call.bridge.failed", data: map[string]any{
		"to": d.action.To, "call_id": child.info.ID, "cause": ReasonCancelled, "code": why.Error(),
		"detail": "the call went on to something else before the other side answered",
	}}
}
