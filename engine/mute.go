package engine

import (
	"slices"

	"github.com/tipring/tipring/engine/media"
)

// mute silences a direction of the line, or undoes it.
func (c *Call) mute(direction string, on bool, commandID string) error {
	if !c.audible() {
		return Errorf(CodeInvalidState, "the call is %s: there is nothing to mute before it is answered", c.info.State)
	}
	event := "call.unmuted"
	if on {
		event = "call.muted"
	}
	for _, d := range directions(direction) {
		line := media.In
		if d == "out" {
			line = media.Out
		}
		c.leg.Audio().Mute(line, on)
		c.info.Muted = slices.DeleteFunc(slices.Clone(c.info.Muted), func(m string) bool { return m == d })
		if on {
			c.info.Muted = append(c.info.Muted, d)
		}
	}
	c.publish(event, commandID, map[string]any{"direction": orDefault(direction, "in")})
	return nil
}

func directions(direction string) []string {
	switch direction {
	case "both":
		return []string{"in", "out"}
	case "out":
		return []string{"out"}
	}
	return []string{"in"}
}
