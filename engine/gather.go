package engine

import (
	"context"
	"strings"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// rules are what a Gather asks of the collector.
func (a *Gather) rules() dtmf.Rules {
	return dtmf.Rules{
		Min: orDefault(a.MinDigits, 1), Max: orDefault(a.MaxDigits, 32), FinishKeys: a.finishKeys(),
		First:      time.Duration(orDefault(a.TimeoutMS, 10_000)) * time.Millisecond,
		InterDigit: time.Duration(orDefault(a.InterDigitTimeout, 3_000)) * time.Millisecond,
	}
}

func (a *Gather) finishKeys() string {
	switch a.FinishOnKey {
	case "":
		return "#"
	case "none":
		return ""
	}
	return a.FinishOnKey
}

// finishes reports whether key ends the gather.
func (a *Gather) finishes(key byte) bool { return strings.IndexByte(a.finishKeys(), key) >= 0 }

// gather plays a prompt and collects digits. The first digit stops the prompt; the time for the first digit runs from
// the prompt's end.
func (e *Engine) gather(a *Gather) activity {
	return func(ctx context.Context, l line) outcome {
		var player *media.Player
		if a.Prompt != nil && len(l.digits) == 0 { // who keyed ahead does not need the prompt
			var err error
			player, err = e.newPlayer(ctx, &Play{URL: a.Prompt.URL, Loop: a.Prompt.Loop})
			if err != nil && ctx.Err() == nil {
				o := failure(a, err)
				o.data["url"] = a.Prompt.URL
				return o
			}
		}
		g := &gathering{action: a, collector: dtmf.NewCollector(a.rules()), line: l}
		g.start(player)
		defer g.quiet()
		return g.collect(ctx)
	}
}

// gathering is a gather under way.
type gathering struct {
	action    *Gather
	collector *dtmf.Collector
	line      line
	prompt    <-chan struct{} // closed at the prompt's end; nil when there is none (any more)
}

func (g *gathering) start(player *media.Player) {
	if player == nil {
		g.collector.Start(time.Now())
		return
	}
	g.prompt = player.Done()
	g.line.ear.hear(player)
}

func (g *gathering) quiet() {
	if g.prompt != nil {
		g.prompt = nil
		g.line.ear.hear(nil)
	}
}

func (g *gathering) collect(ctx context.Context) outcome {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if d := g.collector.Deadline(); d.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(d))
		}
		select {
		case d := <-g.line.digits:
			if !g.action.KeepPromptOnDigits {
				g.quiet()
			}
			if g.collector.Push(d, time.Now()) {
				return g.result("")
			}
		case <-g.prompt:
			g.quiet()
			g.collector.Start(time.Now())
		case <-timer.C:
			if g.collector.Expire(time.Now()) {
				return g.result("")
			}
		case <-ctx.Done():
			return g.result(context.Cause(ctx).Error())
		}
	}
}

// result is what was keyed, and why the gather ended.
func (g *gathering) result(interrupted string) outcome {
	digits, reason, key := g.collector.Result()
	data := map[string]any{
		"digits": digits, "reason": string(reason), "valid": len(digits) >= orDefault(g.action.MinDigits, 1),
	}
	if interrupted != "" {
		data["reason"], data["valid"] = interrupted, false
	}
	if key != 0 {
		data["key"] = string(key)
	}
	return outcome{event: "call.gather.completed", data: data, asks: true, digits: &digits}
}
