package webrtc

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/tipring/tipring/engine"
)

// Trace implements engine.Tracer.
func (l *Leg) Trace(t *engine.Trail) { l.trail.Trace(t) }

// note tells the trail a frame of the signalling with the page.
func (l *Leg) note(dir engine.TrailDirection, typ string, frame any) {
	raw, err := json.Marshal(frame)
	if err != nil {
		return // of our own making, or a page's JSON
	}
	l.trail.Note(engine.TrailEntry{
		At: time.Now().UTC(), Kind: engine.TrailKindPage, Direction: dir,
		Page: &engine.TrailPage{Type: typ, Frame: engine.WithoutSecrets(withoutPasswords(raw))},
	})
}

// withoutPasswords removes the passwords of ICE from descriptions within a frame (RFC 8839 5.4).
func withoutPasswords(frame []byte) []byte {
	const attribute = "a=ice-pwd:"
	var out []byte
	for {
		before, after, found := bytes.Cut(frame, []byte(attribute))
		if !found {
			return append(out, frame...)
		}
		out = append(append(append(out, before...), attribute...), "removed"...)
		frame = after[max(bytes.IndexAny(after, "\\\" \t\r\n"), 0):] // the rest of the line, in JSON
	}
}
