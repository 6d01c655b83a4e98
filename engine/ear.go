package engine

import (
	"sync"

	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// An ear is what the far end hears: what the call's activity gives it, or, on hold, music. Activities use it from their
// own goroutines.
type ear struct {
	line media.Line

	mu     sync.Mutex
	source media.Source // of the activity
	held   bool
	music  media.Source
}

// hear sets what the far end hears when it is not on hold; nil is silence.
func (e *ear) hear(s media.Source) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.source = s
	if !e.held {
		e.line.Hear(s)
	}
}

// hold lets the far end hear music instead.
func (e *ear) hold(music media.Source) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held, e.music = true, music
	e.line.Hear(music)
}

// unhold goes on with the activity's audio.
func (e *ear) unhold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held, e.music = false, nil
	e.line.Hear(e.source)
}

// line is all that an activity is lent.
type line struct {
	ear    *ear
	mic    media.Source
	digits <-chan dtmf.Digit
}
