package engine

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/tipring/tipring/engine/dtmf"
)

// A bridge is two calls that hear each other. It is made once and parts once; each call's loop keeps its own end.
type bridge struct {
	a, b *Call
	// parted is set by the end that leaves first, before it tells the other: who has not joined by then does not.
	parted atomic.Bool
}

func (b *bridge) other(c *Call) *Call {
	if c == b.a {
		return b.b
	}
	return b.a
}

// leave tells the other end that c has left, or will not come; ended is set if c is over.
func (b *bridge) leave(c *Call, reason string, ended *Cause) {
	b.parted.Store(true)
	peer := b.other(c)
	peer.post(func() { peer.peerLeft(b, reason, ended) })
}

// pass hands a key press on that the media path does not carry: RFC 4733 events travel with the packets, INFO does not.
func (b *bridge) pass(from *Call, d dtmf.Digit) {
	if d.Method != dtmf.Info {
		return
	}
	peer := b.other(from)
	go func() { // ends when the digit is keyed, 100 ms later, or refused
		if err := peer.leg.SendDTMF(context.Background(), string(d.Key)); err != nil {
			peer.log.Debug("a digit could not be passed on", "error", err)
		}
	}()
}

// join is a Bridge whose other call is known. It waits for the line as any other action does.
type join struct {
	*Bridge
	bridge *bridge
}

// bridge connects two calls. The call that asked is visited first, for its command id.
func (e *Engine) bridge(ctx context.Context, cmd *Bridge) (Reply, error) {
	if err := Validate(cmd); err != nil {
		return Reply{}, err
	}
	if cmd.With == "" {
		return e.act(ctx, cmd)
	}
	asked, err := e.find(ctx, cmd.ProjectID, cmd.CallID)
	if err != nil {
		return replayFrom(err, cmd.CommandID)
	}
	with, err := e.find(ctx, asked.info.ProjectID, cmd.With)
	if err != nil {
		return Reply{}, err
	}
	rep, err := asked.command(ctx, cmd, asked.canBridge)
	if err != nil || rep.Replayed {
		return rep, err
	}
	if err := connect(ctx, &bridge{a: asked, b: with}, cmd); err != nil {
		asked.post(func() { delete(asked.commands, cmd.CommandID) }) // it was not accepted after all
		return Reply{}, err
	}
	return rep, nil
}

// connect makes both calls of a bridge join it, or neither. It holds both calls' move token meanwhile, taken in the
// order of their ids: bridges that share calls are made one after the other, or two opposite ones would end each other.
func connect(ctx context.Context, br *bridge, cmd *Bridge) error {
	order := []*Call{br.a, br.b}
	slices.SortFunc(order, func(x, y *Call) int {
		if x.info.ID < y.info.ID {
			return -1
		}
		return 1
	})
	for _, c := range order {
		select {
		case c.move <- struct{}{}:
			defer func() { <-c.move }()
		case <-c.done:
			return Errorf(CodeCallEnded, "the call %s is over", c.info.ID)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i, c := range order {
		mine := cmd
		if c != br.a {
			mine = &Bridge{With: br.a.info.ID, OnPeerHangup: cmd.OnPeerHangup}
		}
		err := c.visit(ctx, func() error {
			if err := c.canBridge(); err != nil {
				return err
			}
			return c.begin(&join{Bridge: mine, bridge: br}, outside)
		})
		if err != nil {
			if i > 0 {
				br.leave(c, "failed", nil)
			}
			return err
		}
	}
	return nil
}

func (c *Call) canBridge() error {
	if !c.audible() {
		return Errorf(CodeInvalidState, "the call %s is %s: a bridge needs answered calls", c.info.ID, c.info.State)
	}
	return nil
}

// join connects this end of a bridge.
func (c *Call) join(j *join, from origin) {
	c.running = &running{action: j.Bridge, origin: from, done: make(chan outcome, 1)}
	if j.bridge.parted.Load() {
		c.running.reason = errOver.Error()
		c.running.done <- failure(j.Bridge, Errorf(CodeInvalidState, "the other call went on to something else"))
		return
	}
	c.joined(c.running, j.bridge)
}

func (c *Call) joined(r *running, br *bridge) {
	peer := br.other(c)
	r.bridged = br
	c.info.BridgedWith = peer.info.ID
	c.typed = nil
	c.ear.hear(peer.leg.Audio().Mic())
	c.publish("call.bridged", r.action.Head().CommandID, map[string]any{"with": peer.info.ID})
}

// leaveBridge parts a bridge from this end.
func (c *Call) leaveBridge(br *bridge, reason string) {
	c.part(br, reason, nil)
	br.leave(c, reason, c.ending)
}

// peerLeft parts a bridge whose other end has left it; ended is set if the other call is over.
func (c *Call) peerLeft(br *bridge, reason string, ended *Cause) {
	if n := c.next; n != nil {
		if j, ok := n.action.(*join); ok && j.bridge == br { // the other end left before we came
			c.dropNext(errOver)
			return
		}
	}
	if c.running == nil || c.running.bridged != br || c.running.reason != "" {
		return
	}
	c.running.reason = reason
	var then func()
	if ended != nil && c.hangsUpWithPeer() {
		cause := Cause{Reason: ended.Reason, Source: ended.Source}
		then = func() { c.hangup(cause) }
	}
	c.part(br, reason, then)
}

// part ends what this call has of a bridge.
func (c *Call) part(br *bridge, reason string, then func()) {
	c.ear.hear(nil)
	c.info.BridgedWith = ""
	commandID := c.program.unbridgeID // the bridge's own was told with call.bridged
	c.program.unbridgeID = ""
	c.running.done <- outcome{
		event: "call.unbridged", command: &commandID, then: then,
		data: map[string]any{"with": br.other(c).info.ID, "reason": reason},
	}
}

// hangsUpWithPeer is the policy for the other side's hang-up.
func (c *Call) hangsUpWithPeer() bool {
	policy := PeerHangup("")
	if b, ok := c.running.action.(*Bridge); ok {
		policy = b.OnPeerHangup
	}
	switch policy {
	case PeerHangupContinue:
		return false
	case PeerHangupHangup:
		return true
	}
	return !c.program.active
}

// unbridge parts the bridge; both calls go on.
func (c *Call) unbridge(a *Unbridge) error {
	if c.running == nil || c.running.bridged == nil || c.running.reason != "" {
		return Errorf(CodeInvalidState, "the call is not bridged")
	}
	c.running.reason = "unbridged"
	c.program.unbridgeID = a.CommandID
	c.leaveBridge(c.running.bridged, "unbridged")
	return nil
}
