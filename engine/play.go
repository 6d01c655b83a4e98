package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tipring/tipring/engine/media"
)

// promptTimeout bounds the search for a prompt.
const promptTimeout = 20 * time.Second

// newPlayer finds the audio of a Play. Loop 0 plays it as often as it is made for.
func (e *Engine) newPlayer(ctx context.Context, a *Play) (*media.Player, error) {
	ctx, stop := context.WithTimeout(ctx, promptTimeout)
	defer stop()
	clip, natural, err := e.o.Prompts.Clip(ctx, a.URL)
	if err != nil {
		return nil, err
	}
	p := media.NewPlayer(clip, orDefault(a.Loop, natural))
	if a.VolumeDB != 0 {
		p.SetVolume(a.VolumeDB)
	}
	if a.StartMS > 0 {
		p.Seek(time.Duration(a.StartMS) * time.Millisecond)
	}
	return p, nil
}

// playback is the player of a Play that the call's loop may steer before it is there.
type playback struct {
	mu      sync.Mutex
	player  *media.Player
	waiting []func(*media.Player)
	paused  bool // the loop's
}

// begin takes the player, as it was steered meanwhile.
func (b *playback) begin(p *media.Player) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.player = p
	for _, f := range b.waiting {
		f(p)
	}
	b.waiting = nil
}

// do steers the player, now or when it is there.
func (b *playback) do(f func(*media.Player)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.player == nil {
		b.waiting = append(b.waiting, f)
		return
	}
	f(b.player)
}

// play lets the far end hear a prompt to its end.
func (e *Engine) play(a *Play, b *playback) activity {
	return func(ctx context.Context, l line) outcome {
		player, err := e.newPlayer(ctx, a)
		if ctx.Err() != nil {
			return played(a.URL, context.Cause(ctx).Error(), 0)
		}
		if err != nil {
			o := failure(a, err)
			o.data["url"] = a.URL
			return o
		}
		b.begin(player)
		l.ear.hear(player)
		reason := "completed"
		select {
		case <-player.Done():
		case <-ctx.Done():
			reason = context.Cause(ctx).Error()
		}
		l.ear.hear(nil)
		return played(a.URL, reason, player.Position())
	}
}

// steerPlayback changes how a Play goes on.
func (c *Call) steerPlayback(a Action) error {
	if c.running == nil || c.running.playback == nil || c.running.reason != "" {
		return Errorf(CodeInvalidState, "the call plays nothing now")
	}
	b, id := c.running.playback, a.Head().CommandID
	switch a := a.(type) {
	case *PausePlayback:
		if b.paused {
			return Errorf(CodeInvalidState, "the playback is paused already")
		}
		b.paused = true
		b.do(func(p *media.Player) { p.Pause(true) })
		c.publish("call.playback.paused", id, nil)
	case *ResumePlayback:
		if !b.paused {
			return Errorf(CodeInvalidState, "the playback is not paused")
		}
		b.paused = false
		b.do(func(p *media.Player) { p.Pause(false) })
		c.publish("call.playback.resumed", id, nil)
	case *SeekPlayback:
		data := map[string]any{}
		if a.PositionMS != nil {
			at := time.Duration(*a.PositionMS) * time.Millisecond
			b.do(func(p *media.Player) { p.Seek(at) })
			data["position_ms"] = *a.PositionMS
		}
		if a.VolumeDB != nil {
			volume := *a.VolumeDB
			b.do(func(p *media.Player) { p.SetVolume(volume) })
			data["volume_db"] = volume
		}
		c.publish("call.playback.moved", id, data)
	}
	return nil
}

func played(url, reason string, d time.Duration) outcome {
	return outcome{event: "call.playback.completed", data: map[string]any{
		"url": url, "reason": reason, "played_ms": d.Milliseconds(),
	}}
}

// echo lets the far end hear itself.
func echo(a *Echo) activity {
	return func(ctx context.Context, l line) outcome {
		l.ear.hear(l.mic)
		o := pause(ctx, a.DurationMS, "call.echo.completed")
		l.ear.hear(nil)
		return o
	}
}

// wait lets time pass.
func wait(a *Wait) activity {
	return func(ctx context.Context, _ line) outcome { return pause(ctx, a.DurationMS, "call.wait.completed") }
}

// pause returns when ms milliseconds have passed (0: never) or ctx ends.
func pause(ctx context.Context, ms int, event string) outcome {
	var over <-chan time.Time
	if ms > 0 {
		t := time.NewTimer(time.Duration(ms) * time.Millisecond)
		defer t.Stop()
		over = t.C
	}
	reason := "completed"
	select {
	case <-over:
	case <-ctx.Done():
		reason = context.Cause(ctx).Error()
	}
	return outcome{event: event, data: map[string]any{"reason": reason}}
}

// sendDTMF keys digits.
func sendDTMF(leg Leg, a *SendDTMF) activity {
	return func(ctx context.Context, _ line) outcome {
		err := leg.SendDTMF(ctx, a.Digits)
		switch {
		case ctx.Err() != nil:
			return outcome{event: "call.dtmf.sent", data: map[string]any{"digits": a.Digits, "reason": "interrupted"}}
		case err != nil:
			return failure(a, err)
		}
		return outcome{event: "call.dtmf.sent", data: map[string]any{"digits": a.Digits, "reason": "completed"}}
	}
}
