package engine

import (
	"context"
	"time"

	"github.com/tipring/tipring/engine/media"
)

// promptTimeout bounds the search for a prompt.
const promptTimeout = 20 * time.Second

// newPlayer finds the audio of a play URL. loop 0 plays it as often as it is made for.
func newPlayer(ctx context.Context, p Prompts, url string, loop int) (*media.Player, error) {
	ctx, stop := context.WithTimeout(ctx, promptTimeout)
	defer stop()
	clip, natural, err := p.Clip(ctx, url)
	if err != nil {
		return nil, err
	}
	return media.NewPlayer(clip, orDefault(loop, natural)), nil
}

// play lets the far end hear a prompt to its end.
func play(p Prompts, a *Play) activity {
	return func(ctx context.Context, l line) outcome {
		player, err := newPlayer(ctx, p, a.URL, a.Loop)
		if ctx.Err() != nil {
			return played(a.URL, context.Cause(ctx).Error(), 0)
		}
		if err != nil {
			o := failure(a, err)
			o.data["url"] = a.URL
			return o
		}
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
