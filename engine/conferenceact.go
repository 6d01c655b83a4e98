package engine

import (
	"context"
	"slices"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// actOnConference runs a command in the conference's loop, once per command id.
func (e *Engine) actOnConference(ctx context.Context, a ConferenceAction) (Reply, error) {
	if err := Validate(a); err != nil {
		return Reply{}, err
	}
	h := a.Conference()
	c, err := e.findConference(h.ProjectID, h.ConferenceID)
	if err != nil {
		return Reply{}, err
	}
	given := h.CommandID != ""
	if !given {
		h.CommandID = e.o.NewID("cmd")
	}
	rep := Reply{CommandID: h.CommandID}
	err = c.visit(ctx, func() error {
		_, rep.Replayed = c.commands[h.CommandID]
		switch {
		case rep.Replayed:
		case c.ended:
			return Errorf(CodeConferenceEnded, "the conference %s is over", c.info.ID)
		default:
			if err := c.perform(a, &rep); err != nil {
				return err
			}
			if given && len(c.commands) < maxCommands {
				c.commands[h.CommandID] = a.Name()
			}
		}
		info := c.snapshot()
		rep.Conference = &info
		if s := c.seat(h.Participant); s != nil {
			p := s.snapshot()
			rep.Participant = &p
		}
		return nil
	})
	if err != nil {
		return Reply{}, err
	}
	return rep, nil
}

// seat is the one of a call; nil if it has none.
func (c *conference) seat(callID string) *seat {
	i := slices.IndexFunc(c.seats, func(s *seat) bool { return s.info.CallID == callID })
	if i < 0 {
		return nil
	}
	return c.seats[i]
}

// perform does a command. Its errors are refusals: nothing has happened.
func (c *conference) perform(a ConferenceAction, rep *Reply) error {
	h := a.Conference()
	var s *seat
	if h.Participant != "" {
		if s = c.seat(h.Participant); s == nil {
			return Errorf(CodeParticipantNotFound, "the call %q has no seat in the conference %s", h.Participant, c.info.ID)
		}
	}
	switch a := a.(type) {
	case *LockConference:
		return c.lock(true, h.CommandID)
	case *UnlockConference:
		return c.lock(false, h.CommandID)
	case *EndConference:
		c.end("ended", h.CommandID)
		return nil
	case *PlayConference:
		c.announce(a, s)
		return nil
	case *StopConferencePlay:
		return c.stopAnnouncement(s, h.CommandID)
	case *RecordConference:
		if err := c.startRecording(a.RecordingOptions, h.CommandID); err != nil {
			return err
		}
		rep.RecordingID = c.tapes[""].info.ID
		return nil
	case *StopConferenceRecording:
		return c.tapes[""].steer("stop", "", h.CommandID)
	case *PauseConferenceRecording:
		return c.tapes[""].steer("pause", a.Fill, h.CommandID)
	case *ResumeConferenceRecording:
		return c.tapes[""].steer("resume", "", h.CommandID)
	}
	if s == nil {
		return Invalid("/participant", "say which participant")
	}
	return c.performOn(s, a)
}

// performOn does a command to one participant.
func (c *conference) performOn(s *seat, a ConferenceAction) error {
	var event string
	switch a := a.(type) {
	case *MuteParticipant:
		s.info.Muted = true
		event = "conference.participant.muted"
	case *UnmuteParticipant:
		s.info.Muted = false
		event = "conference.participant.unmuted"
	case *DeafenParticipant:
		s.info.Deafened = true
		event = "conference.participant.deafened"
	case *UndeafenParticipant:
		s.info.Deafened = false
		event = "conference.participant.undeafened"
	case *HoldParticipant:
		if s.info.Held {
			return Errorf(CodeInvalidState, "the participant is on hold already")
		}
		s.info.Held = true
		event = "conference.participant.held"
		c.holdMusic(s, a.Music)
	case *UnholdParticipant:
		if !s.info.Held {
			return Errorf(CodeInvalidState, "the participant is not on hold")
		}
		s.info.Held = false
		event = "conference.participant.unheld"
		if s.sounds == soundHeld {
			s.sounds = soundMix
			s.mix.Play(nil)
		}
	case *KickParticipant:
		c.removeBy(s, "kicked", a.CommandID)
		s.call.insist(func() { s.call.unseated(s, "kicked") })
		if !c.afterwards(s) {
			c.arrange()
		}
		return nil
	case *SetParticipant:
		s.set(a)
		event = "conference.participant.updated"
		c.start(s) // he may have become the moderator
	default:
		return Errorf(CodeUnsupported, "this node does not know the command %T", a)
	}
	c.arrange()
	c.publish(event, a.Conference().CommandID, map[string]any{"participant": s.snapshot()})
	return nil
}

func (s *seat) set(a *SetParticipant) {
	if a.Role != nil {
		s.info.Role = *a.Role
	}
	if a.Coach != nil {
		s.info.Coach = *a.Coach
	}
	if a.VolumeDB != nil {
		s.info.VolumeDB = *a.VolumeDB
	}
}

func (c *conference) lock(on bool, commandID string) error {
	if c.info.Locked == on {
		return Errorf(CodeInvalidState, "the conference is so already")
	}
	c.info.Locked = on
	event := "conference.unlocked"
	if on {
		event = "conference.locked"
	}
	c.publish(event, commandID, nil)
	return nil
}

// An announcement is what somebody plays to all, or to one seat.
type announcement struct {
	action *PlayConference
	seat   *seat // nil: to all
	player *media.Player
	over   bool
}

// find gets a prompt beside the loop and hands it to f in the loop.
func (c *conference) find(a *Play, f func(p *media.Player, err error)) {
	go func() { // ends when the prompt is found or promptTimeout is over
		p, err := c.engine.newPlayer(context.Background(), a)
		c.insist(func() {
			if !c.ended {
				f(p, err)
			}
		})
	}()
}

// announce plays to all or to one; conference.playback.started and completed, or failed, follow.
func (c *conference) announce(a *PlayConference, s *seat) {
	c.stopPlayingTo(s, errReplaced.Error())
	an := &announcement{action: a, seat: s}
	c.setPlaying(s, an)
	c.find(&Play{URL: a.URL, Loop: a.Loop, VolumeDB: a.VolumeDB}, func(p *media.Player, err error) {
		switch {
		case an.over: // stopped, and told so, before it was there
		case err != nil:
			an.over = true
			c.clearPlaying(an)
			c.publish("conference.playback.failed", a.CommandID, an.data(map[string]any{
				"code": ErrorCode(err), "detail": detail(err),
			}))
		default:
			c.begin(an, p)
		}
	})
}

func (c *conference) begin(an *announcement, p *media.Player) {
	an.player = p
	c.publish("conference.playback.started", "", an.data(nil))
	if an.seat == nil {
		c.room.Play(p)
	} else {
		an.seat.mix.Play(p)
	}
	go func() { // ends with the player, or with the conference
		select {
		case <-p.Done():
		case <-c.done:
		}
		c.insist(func() { c.finish(an, "completed") })
	}()
}

// finish tells the end of an announcement once.
func (c *conference) finish(an *announcement, reason string) {
	if an.over {
		return
	}
	an.over = true
	played := int64(0)
	if an.player != nil {
		played = an.player.Position().Milliseconds()
	}
	c.clearPlaying(an)
	c.publish("conference.playback.completed", an.action.CommandID, an.data(map[string]any{"reason": reason, "played_ms": played}))
}

func (an *announcement) data(data map[string]any) map[string]any {
	if data == nil {
		data = map[string]any{}
	}
	data["url"] = an.action.URL
	if an.seat != nil {
		data["participant"] = an.seat.snapshot()
	}
	return data
}

// playingTo is the announcement under way to all (nil) or to a seat.
func (c *conference) playingTo(s *seat) *announcement {
	if s == nil {
		return c.playing
	}
	return s.playing
}

func (c *conference) setPlaying(s *seat, an *announcement) {
	if s == nil {
		c.playing = an
		return
	}
	s.playing, s.sounds = an, soundPlayed
}

// clearPlaying lets all, or the seat, hear what they hear without the announcement.
func (c *conference) clearPlaying(an *announcement) {
	s := an.seat
	switch {
	case s == nil && c.playing == an:
		c.playing = nil
		c.room.Play(nil)
	case s != nil && s.playing == an:
		s.playing, s.sounds = nil, soundMix
		s.mix.Play(nil)
		c.entertain(s)
	}
}

func (c *conference) stopPlayingTo(s *seat, reason string) {
	if an := c.playingTo(s); an != nil {
		c.finish(an, reason)
	}
}

// stopPlaying ends all announcements.
func (c *conference) stopPlaying(reason string) {
	c.stopPlayingTo(nil, reason)
	for _, s := range c.seats {
		c.stopPlayingTo(s, reason)
	}
}

func (c *conference) stopAnnouncement(s *seat, commandID string) error {
	if c.playingTo(s) == nil {
		return Errorf(CodeInvalidState, "nothing is played now")
	}
	c.stopPlayingTo(s, errStopped.Error())
	c.publish("conference.playback.stopped", commandID, nil)
	return nil
}

// tone lets all hear that somebody came or went, unless something is announced.
func (c *conference) tone(url string) {
	if url == "" || c.ended || c.playing != nil {
		return
	}
	c.find(&Play{URL: url}, func(p *media.Player, err error) {
		switch {
		case err != nil:
			c.log.Warn("no tone", "url", url, "error", err)
		case c.playing == nil:
			c.room.Play(p)
		}
	})
}

// loadMusic finds the music of who waits.
func (c *conference) loadMusic() {
	url := c.info.Settings.Music
	go func() { // ends when the music is found or promptTimeout is over
		ctx, stop := context.WithTimeout(context.Background(), promptTimeout)
		defer stop()
		clip, _, err := c.engine.o.Prompts.Clip(ctx, url)
		c.post(func() {
			if err != nil {
				c.publish("conference.playback.failed", "", map[string]any{
					"url": url, "code": ErrorCode(err), "detail": detail(err),
				})
				return
			}
			c.music = clip
			for _, s := range c.seats {
				c.entertain(s)
			}
		})
	}()
}

// holdMusic plays to a held participant: his own music, else the conference's.
func (c *conference) holdMusic(s *seat, url string) {
	if url == "" {
		return
	}
	c.find(&Play{URL: url, Loop: media.LoopForever}, func(p *media.Player, err error) {
		switch {
		case err != nil:
			c.publish("conference.playback.failed", "", map[string]any{
				"url": url, "code": ErrorCode(err), "detail": detail(err), "participant": s.snapshot(),
			})
		case s.info.Held && s.sounds != soundPlayed:
			s.sounds = soundHeld
			s.mix.Play(p)
		}
	})
}

// startRecording records the mix.
func (c *conference) startRecording(o RecordingOptions, commandID string) error {
	if t := c.tapes[""]; t != nil {
		return Errorf(CodeInvalidState, "the conference is recorded already, as %s", t.info.ID)
	}
	o.Tracks = "in" // a room says one thing
	t, err := c.newTape(tapeOf{conference: c, add: c.room.Tap}, "", o, codec.Codec{}, commandID)
	if err != nil {
		return err
	}
	c.info.Recording = t.info.ID
	return nil
}

// recordTrack records what one participant says.
func (c *conference) recordTrack(s *seat, line media.Line) {
	owner := tapeOf{conference: c, call: s.info.CallID, add: line.Tap}
	if _, err := c.newTape(owner, s.info.CallID, RecordingOptions{Tracks: "in"}, line.Codec(), ""); err != nil {
		c.log.Warn("a participant is not recorded", "call", s.info.CallID, "error", err)
	}
}

func (c *conference) newTape(owner tapeOf, callID string, o RecordingOptions, d codec.Codec, commandID string) (*tape, error) {
	info := RecordingInfo{ProjectID: c.info.ProjectID, ConferenceID: c.info.ID, CallID: callID}
	t, err := c.engine.newTape(owner, info, o, d, commandID)
	if err == nil {
		c.tapes[callID] = t
	}
	return t, err
}

// tapeOf is a conference as the owner of one of its tapes: of the mix, or of a call.
type tapeOf struct {
	*conference
	call string
	add  func(media.Tap) func()
}

func (o tapeOf) tap(t media.Tap) (remove func()) { return o.add(t) }

func (o tapeOf) tellTape(t *tape, what tapeEvent, commandID string, data map[string]any) {
	event := [...]string{
		tapeStarted: "conference.recording.started", tapePaused: "conference.recording.paused",
		tapeResumed: "conference.recording.resumed", tapeSaved: "conference.recording.saved",
		tapeFailed: "conference.recording.failed",
	}[what]
	if data == nil {
		data = map[string]any{}
	}
	info := t.info
	data["recording"] = info
	o.emit(event, commandID, data, func(e *Event) { e.Recording = &info })
}

func (o tapeOf) untape(t *tape) {
	if o.tapes[o.call] == t {
		delete(o.tapes, o.call)
	}
	if o.call == "" && o.info.Recording == t.info.ID {
		o.info.Recording = ""
	}
}

var _ tapeOwner = tapeOf{}
