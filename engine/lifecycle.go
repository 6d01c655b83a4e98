package engine

import (
	"context"
	"time"
)

// arrived begins the life of an inbound call.
func (c *Call) arrived(in Incoming) {
	c.after(c.engine.o.AnswerTimeout, func() {
		if c.info.State != CallAnswered {
			c.hangup(Cause{Reason: ReasonNoAnswer, Source: SourceSystem})
		}
	})
	data := map[string]any{
		"sip": map[string]any{"call_id": in.SIPCallID, "headers": in.Headers, "source": in.Source},
	}
	if in.From.Name != "" {
		data["from_name"] = in.From.Name
	}
	switch {
	case len(c.app.Instructions) > 0:
		c.publish("call.incoming", "", data)
		c.instruct(&Instructions{Instructions: c.app.Instructions})
	case c.app.Asks():
		c.ask("call.incoming", "", data)
	default: // somebody listens to the events and steers by commands
		c.publish("call.incoming", "", data)
	}
}

// signal takes what the far end did.
func (c *Call) signal(s Signal) {
	if c.ending != nil && s.Kind != SignalEnded {
		return
	}
	switch s.Kind {
	case SignalRinging:
		if c.info.State == CallInitiated {
			c.info.State = CallRinging
			c.publish("call.ringing", "", map[string]any{"sip_status": s.Status})
		}
		c.parent.ringing()
	case SignalEarlyMedia:
		if c.info.State == CallInitiated {
			c.info.State = CallRinging
		}
		if !c.early {
			c.early = true
			c.publish("call.early_media", "", map[string]any{"sip_status": s.Status})
		}
		c.parent.earlyMedia()
	case SignalAnswered:
		c.pickedUp()
	case SignalDigit:
		c.digit(s.Digit)
	case SignalHeld:
		c.info.HeldByPeer = true
		c.publish("call.held", "", map[string]any{"by": "remote"})
	case SignalUnheld:
		c.info.HeldByPeer = false
		c.publish("call.unheld", "", map[string]any{"by": "remote"})
	case SignalMediaLost:
		c.publish("call.media.silent", "", nil)
	case SignalMediaBack:
		c.publish("call.media.resumed", "", nil)
	case SignalEnded:
		cause := *s.Cause
		if c.ending != nil {
			cause = merge(*c.ending, *s.Cause)
		}
		c.finish(cause)
	}
}

// pickedUp is the moment from which both sides hear each other.
func (c *Call) pickedUp() {
	if c.info.State == CallAnswered {
		return
	}
	now := time.Now().UTC()
	c.info.State, c.info.AnsweredAt = CallAnswered, &now
	c.after(c.maxDuration, func() { c.hangup(Cause{Reason: ReasonMaxDuration, Source: SourceSystem}) })
	c.sample()
	commandID := c.program.answerID
	c.program.answerID = ""
	if c.info.Direction == Outbound && c.parent == nil {
		c.startOutbound()
		return
	}
	c.publish("call.answered", commandID, nil)
	if c.parent != nil {
		c.parent.answered()
	}
	r := c.running
	switch {
	case r == nil:
	case r.dialing != nil && r.dialing.talking:
		r.dialing.connect()
	case r.action.Name() == "answer":
		c.conclude(outcome{})
	}
}

// startOutbound runs what an outbound call was made for.
func (c *Call) startOutbound() {
	switch {
	case c.program.loaded != nil:
		c.publish("call.answered", "", nil)
		loaded := c.program.loaded
		c.program.loaded, c.program.original = nil, true
		c.instruct(loaded)
	case c.asks() && c.running == nil:
		c.ask("call.answered", "", nil)
	default:
		c.publish("call.answered", "", nil)
	}
}

// asks reports whether the call has an application to ask, asksByHTTP whether that is a webhook.
func (c *Call) asks() bool       { return c.webhookURL() != "" }
func (c *Call) asksByHTTP() bool { return c.asks() && !websocketURL(c.webhookURL()) }

func (c *Call) webhookURL() string {
	if c.parent != nil {
		return "" // a call that a bridge dialled is steered by the call that dialled it
	}
	if c.webhook != "" {
		return c.webhook
	}
	return c.app.WebhookURL
}

// answer takes an inbound call; the action is over when the far end has confirmed it.
func (c *Call) answer(a *Answer, from origin) error {
	switch {
	case c.info.Direction != Inbound:
		return Errorf(CodeInvalidState, "only an inbound call is answered; this one was dialled")
	case c.info.State == CallAnswered || c.answering:
		if from == inProgram {
			return nil // a program that answers an answered call means no harm
		}
		return Errorf(CodeInvalidState, "the call has been answered already")
	}
	if err := c.pickUp(); err != nil {
		return err
	}
	c.program.answerID = a.CommandID
	if c.running == nil {
		c.running = &running{action: a, origin: from, done: make(chan outcome, 1)}
	}
	return nil
}

// pickUp answers the leg once.
func (c *Call) pickUp() error {
	if c.answering {
		return nil
	}
	if err := c.leg.Answer(context.Background()); err != nil {
		return err
	}
	c.answering = true
	return nil
}

// ring tells the caller that it rings.
func (c *Call) ring(early bool, commandID string) error {
	if c.info.Direction != Inbound || c.info.State == CallAnswered || c.answering {
		return Errorf(CodeInvalidState, "only an inbound call that was not answered rings")
	}
	if err := c.leg.Ring(context.Background(), early); err != nil {
		return err
	}
	c.early = c.early || early
	c.info.State = CallRinging
	c.publish("call.ringing", commandID, map[string]any{"early_media": early})
	return nil
}

// hangup ends the leg; its last signal ends the call.
func (c *Call) hangup(cause Cause) {
	if c.ending != nil || c.ended {
		return
	}
	c.ending = &cause
	if err := c.leg.Hangup(context.Background(), cause); err != nil {
		c.log.Warn("the leg did not hang up", "error", err)
	}
	c.after(c.engine.o.HangupTimeout, func() { c.finish(cause) })
}

// finish tells that the call is over and ends what hangs on it.
func (c *Call) finish(cause Cause) {
	if c.ended {
		return
	}
	if c.ending == nil {
		c.ending = &cause
	}
	if r := c.running; r != nil {
		c.dropNext(errOver)
		c.interrupt(errOver)
		c.lastWords(r)
		c.running = nil
	}
	for _, id := range c.keying {
		c.publish("call.dtmf.sent", id, map[string]any{"reason": errOver.Error()})
	}
	c.tape.over()
	if c.info.State == CallAnswered {
		c.sample() // the last figures
	}
	c.ended = true
	now := time.Now().UTC()
	c.info.State, c.info.EndedAt, c.info.Hangup = CallEnded, &now, &cause
	data := map[string]any{
		"cause": cause.Reason, "source": cause.Source, "duration_ms": now.Sub(c.info.CreatedAt).Milliseconds(),
		"talk_ms": 0, "quality": c.leg.Audio().Quality(),
	}
	if c.info.AnsweredAt != nil {
		data["talk_ms"] = now.Sub(*c.info.AnsweredAt).Milliseconds()
	}
	if cause.SIPStatus != 0 {
		data["sip_status"] = cause.SIPStatus
	}
	if cause.Q850 != 0 {
		data["q850"] = cause.Q850
	}
	if cause.Text != "" {
		data["text"] = cause.Text
	}
	c.publish("call.ended", c.program.endID, data)
	c.parent.childEnded(cause)
}

// lastWords tells how the running activity ended. It ends soon after its context, and a bridge at once.
func (c *Call) lastWords(r *running) {
	if r.action.Name() == "answer" {
		return
	}
	select {
	case o := <-r.done:
		id := r.action.Head().CommandID
		if o.command != nil {
			id = *o.command
		}
		c.publish(o.event, id, o.data)
	case <-time.After(time.Second):
		c.log.Error("an activity did not end", "action", r.action.Name())
	}
}

// merge keeps why we hung up and adds what the wire said.
func merge(ours, wire Cause) Cause {
	if ours.SIPStatus == 0 {
		ours.SIPStatus = wire.SIPStatus
	}
	if ours.Q850 == 0 {
		ours.Q850 = wire.Q850
	}
	return ours
}
