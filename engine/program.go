package engine

import (
	"context"
	"slices"
	"time"
)

// A program is the list of instructions that a call still has to run.
type program struct {
	rest     []Instruction
	active   bool          // a list was given and call.instructions.completed was not told yet
	original bool          // the call was made for a list of instructions
	fallback bool          // the fallback instructions were used
	loaded   *Instructions // of an outbound call, until it is answered
	digits   string        // of the last gather, for {digits}
	answerID string        // command_id of the answer under way
	endID    string        // command_id of the hangup or reject under way
	// unbridgeID is the command_id of the unbridge under way.
	unbridgeID string
}

func (p *program) empty() bool { return len(p.rest) == 0 }
func (p *program) clear()      { p.rest, p.active = nil, false }

// instruct gives the call a list of instructions that has been validated.
func (c *Call) instruct(ins *Instructions) {
	c.program.active = true
	if ins.Mode == ModeAppend {
		c.program.rest = append(c.program.rest, ins.Instructions...)
		if c.running == nil && c.asking == "" {
			c.step()
		}
		return
	}
	c.program.rest = append([]Instruction(nil), ins.Instructions...)
	if c.running != nil {
		c.dropNext(errReplaced)
		c.interrupt(errReplaced) // conclude steps
		return
	}
	c.step()
}

// step runs instructions until one takes time or the program is over.
func (c *Call) step() {
	for c.running == nil && c.asking == "" && c.ending == nil && !c.ended {
		if c.program.empty() {
			c.programOver()
			return
		}
		next := c.program.rest[0]
		c.program.rest = c.program.rest[1:]
		began := time.Now()
		a, err := c.fill(next.Action)
		if err == nil {
			err = c.perform(a, inProgram)
		}
		c.trail.command(began, next.Name(), next.Head().CommandID, next.Action, inProgram, err)
		if err != nil {
			o := failure(next.Action, err)
			c.publish(o.event, next.Head().CommandID, o.data)
		}
	}
}

// programOver asks the application what now, or lets the call idle.
func (c *Call) programOver() {
	if !c.program.active {
		return
	}
	c.program.active = false
	data := map[string]any{}
	if c.asksByHTTP() && !c.program.fallback && len(c.app.Instructions) == 0 {
		c.ask("call.instructions.completed", "", data)
		return
	}
	c.publish("call.instructions.completed", "", data)
	c.idle()
}

// idle is what a call does that has nothing to do and nobody to ask.
func (c *Call) idle() {
	if c.running != nil || c.ending != nil || !c.program.empty() {
		return
	}
	if c.idlePolicy() == IdleWait {
		return
	}
	c.hangup(Cause{Reason: ReasonIdle, Source: SourceApp})
}

func (c *Call) idlePolicy() OnIdle {
	switch {
	case c.onIdle != "":
		return c.onIdle
	case c.app.OnIdle != "":
		return c.app.OnIdle
	case c.asksByHTTP(), len(c.app.Instructions) > 0, c.program.original:
		return IdleHangup
	}
	return IdleWait
}

// perform does an action or begins it. Its errors are refusals: nothing has happened.
func (c *Call) perform(a Action, from origin) error {
	id := a.Head().CommandID
	switch a := a.(type) {
	case *Answer:
		return c.answer(a, from)
	case *Ring:
		return c.ring(a.EarlyMedia, id)
	case *Reject:
		return c.reject(a)
	case *Hangup:
		c.program.endID = id
		c.hangup(Cause{Reason: orDefault(a.Cause, ReasonNormal), Source: SourceApp})
		return nil
	case *Hold:
		return c.hold(a)
	case *Unhold:
		return c.unhold(id)
	case *Mute:
		return c.mute(a.Direction, true, id)
	case *Unmute:
		return c.mute(a.Direction, false, id)
	case *Unbridge:
		return c.unbridge(a)
	case *Stop:
		return c.stop(a)
	case *Run:
		return c.runList(a)
	case *SendDTMF:
		if from == outside {
			return c.keyDigits(a)
		}
		return c.begin(a, from)
	case *Leave:
		return c.leave(a)
	case *PausePlayback, *ResumePlayback, *SeekPlayback:
		return c.steerPlayback(a)
	case *StartRecording:
		return c.startRecording(a)
	case *StopRecording:
		return c.tape.steer("stop", "", id)
	case *PauseRecording:
		return c.tape.steer("pause", a.Fill, id)
	case *ResumeRecording:
		return c.tape.steer("resume", "", id)
	}
	return c.begin(a, from) // Play Gather Echo Wait Bridge Join
}

func (c *Call) reject(a *Reject) error {
	if c.info.Direction != Inbound || c.info.State == CallAnswered || c.answering {
		return Errorf(CodeInvalidState, "only an inbound call that was not answered is rejected: hang it up")
	}
	c.program.endID = a.CommandID
	c.hangup(Cause{
		Reason: ReasonRejected, Source: SourceApp, SIPStatus: orDefault(a.Status, 603), Text: a.Text, Headers: a.Headers,
	})
	return nil
}

// stop ends what the call does now.
func (c *Call) stop(a *Stop) error {
	if a.All {
		c.program.clear()
	}
	what := ""
	if c.running != nil {
		what = c.running.action.Name()
		c.dropNext(errStopped)
		c.interrupt(errStopped)
	}
	c.publish("call.stopped", a.CommandID, map[string]any{"activity": what})
	return nil
}

// runList takes a list from outside.
func (c *Call) runList(a *Run) error {
	if err := validateAll(a.Instructions.Instructions); err != nil {
		return err
	}
	if c.info.Direction == Outbound && !c.audible() {
		return Errorf(CodeInvalidState, "the call is %s: give it instructions when it is answered", c.info.State)
	}
	c.asking = ""
	c.publish("call.instructions.started", a.CommandID, map[string]any{
		"count": len(a.Instructions.Instructions), "mode": orDefault(a.Mode, ModeReplace),
	})
	c.instruct(&a.Instructions)
	return nil
}

// key sends digits beside what the call does.
func (c *Call) keyDigits(a *SendDTMF) error {
	if !c.audible() {
		return Errorf(CodeInvalidState, "the call is %s: digits need an answered call", c.info.State)
	}
	act := sendDTMF(c.leg, a)
	c.keying = append(c.keying, a.CommandID)
	ctx, stop := context.WithCancel(context.Background())
	go func() { // ends when the digits are sent, or with the call
		select {
		case <-c.done:
		case <-ctx.Done():
		}
		stop()
	}()
	go func() {
		defer stop()
		o := act(ctx, line{})
		c.post(func() {
			c.keying = slices.DeleteFunc(c.keying, func(id string) bool { return id == a.CommandID })
			c.publish(o.event, a.CommandID, o.data)
		})
	}()
	return nil
}

// hold puts the far end on hold.
func (c *Call) hold(a *Hold) error {
	switch {
	case c.info.State != CallAnswered:
		return Errorf(CodeInvalidState, "the call is %s: hold needs an answered call", c.info.State)
	case c.info.Held:
		return Errorf(CodeInvalidState, "the call is on hold already")
	}
	if err := c.leg.Hold(context.Background(), true); err != nil {
		return err
	}
	c.info.Held = true
	c.ear.hold(nil)
	if a.Music != "" {
		c.holdMusic(a.Music)
	}
	c.publish("call.held", a.CommandID, map[string]any{"by": "local"})
	return nil
}

// holdMusic finds the music beside the loop and plays it if the call is still on hold then.
func (c *Call) holdMusic(url string) {
	ctx, stop := context.WithTimeout(context.Background(), promptTimeout)
	go func() { // ends when the music is found or the time is over
		defer stop()
		p, err := c.engine.newPlayer(ctx, &Play{URL: url, Loop: -1})
		c.post(func() {
			switch {
			case err != nil:
				c.publish("call.playback.failed", "", map[string]any{"url": url, "code": ErrorCode(err), "detail": detail(err)})
			case c.info.Held:
				c.ear.hold(p)
			}
		})
	}()
}

func (c *Call) unhold(commandID string) error {
	if !c.info.Held {
		return Errorf(CodeInvalidState, "the call is not on hold")
	}
	if err := c.leg.Hold(context.Background(), false); err != nil {
		return err
	}
	c.info.Held = false
	c.ear.unhold()
	c.publish("call.unheld", commandID, map[string]any{"by": "local"})
	return nil
}
