package engine

import (
	"slices"
	"time"

	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/mixer"
)

// A seat is a call's place in a conference. The conference's loop owns it; the call's loop knows it by its address.
type seat struct {
	call       *Call
	conference *conference
	mix        *mixer.Seat // nil until the seat was given; then it does not change
	info       ParticipantInfo
	speaking   bool
	sounds     sound
	playing    *announcement // to it alone
}

// sound is what a seat hears in the place of the mix.
type sound uint8

const (
	soundMix sound = iota
	soundMusic
	soundHeld
	soundPlayed // somebody plays to it alone
)

// takeSeat asks the conference for a seat, from the call's loop. joined or unseated follows.
func (c *Call) takeSeat(a *Join, from origin) {
	r := &running{action: a, origin: from, done: make(chan outcome, 1)}
	c.running = r
	open := OpenConference{ProjectID: c.info.ProjectID, Name: a.Conference}
	if a.Settings != nil {
		open.ConferenceSettings = *a.Settings
	}
	open.ApplicationID = orDefault(open.ApplicationID, c.info.ApplicationID)
	s := &seat{call: c, info: ParticipantInfo{
		CallID: c.info.ID, From: c.info.From, To: c.info.To, Role: orDefault(a.Role, RoleParticipant), Coach: a.Coach,
		Muted: a.Muted, Deafened: a.Deafened, VolumeDB: a.VolumeDB,
	}}
	line := c.leg.Audio()
	conf, _, err := c.engine.room(open, c.webhook, false)
	if err != nil {
		r.done <- failure(a, err)
		return
	}
	s.conference = conf
	if !conf.post(func() { conf.admit(s, line) }) {
		r.done <- failure(a, Errorf(CodeCapacity, "the conference %s is busy: try again", a.Conference))
		return
	}
	r.seat = s
}

// again asks for a seat once more, since the conference ended before it gave one: by its name another one opens.
func (c *Call) again(s *seat) {
	if r := c.running; r != nil && r.seat == s && r.reason == "" {
		c.takeSeat(r.action.(*Join), r.origin)
	}
}

// admit gives a seat, from the conference's loop.
func (c *conference) admit(s *seat, line media.Line) {
	if c.ended {
		s.call.insist(func() { s.call.again(s) })
		return
	}
	if err := c.admits(s); err != nil {
		s.call.insist(func() { s.call.refused(s, err) })
		return
	}
	s.info.JoinedAt = time.Now().UTC()
	rate := line.Codec().SampleRate
	s.mix = c.room.Join(line.Mic(), rate, mixer.State{Muted: true, Deafened: true})
	c.seats = append(c.seats, s)
	if c.empty != nil {
		c.empty.Stop()
	}
	c.start(s)
	c.arrange()
	c.publish("conference.participant.joined", "", map[string]any{"participant": s.snapshot()})
	if !c.waiting {
		c.tone(c.info.Settings.EntryTone)
	}
	if c.info.Settings.Record == "tracks" {
		c.recordTrack(s, line)
	}
	id, name := c.info.ID, c.info.Name
	s.call.insist(func() { s.call.seated(s, id, name) })
}

func (c *conference) admits(s *seat) error {
	most := orDefault(c.info.Settings.MaxParticipants, maxParticipants)
	switch {
	case c.info.Locked && s.info.Role != RoleModerator:
		return Errorf(CodeConferenceLocked, "the conference %s is locked", orDefault(c.info.Name, c.info.ID))
	case len(c.seats) >= most:
		return Errorf(CodeCapacity, "the conference %s has %d participants, its limit", orDefault(c.info.Name, c.info.ID), most)
	}
	return nil
}

// start begins the conference with its first participant, or its moderator.
func (c *conference) start(s *seat) {
	if s.info.Role == RoleModerator {
		c.waiting = false
	}
	if c.info.StartedAt != nil || c.waiting {
		return
	}
	now := time.Now().UTC()
	c.info.State, c.info.StartedAt = ConferenceActive, &now
	c.publish("conference.started", "", nil)
	if c.info.Settings.Record == "mix" || c.info.Settings.Record == "tracks" {
		if err := c.startRecording(RecordingOptions{}, ""); err != nil {
			c.log.Warn("the conference is not recorded", "error", err)
		}
	}
}

// seated lets the call hear the conference, from the call's loop.
func (c *Call) seated(s *seat, id, name string) {
	r := c.running
	if r == nil || r.seat != s || r.reason != "" {
		return // it went on to something else; the conference knows
	}
	c.info.ConferenceID = id
	c.typed = nil
	c.ear.hear(s.mix)
	c.publish("call.joined", r.action.Head().CommandID, map[string]any{
		"conference_id": id, "conference_name": name, "role": s.info.Role,
	})
}

// refused is the end of a join that came to nothing.
func (c *Call) refused(s *seat, err error) {
	if r := c.running; r != nil && r.seat == s && r.reason == "" {
		r.reason, r.seat = errOver.Error(), nil
		r.done <- failure(r.action, err)
	}
}

// leave gives the call's seat up.
func (c *Call) leave(a *Leave) error {
	r := c.running
	if r == nil || r.seat == nil || r.reason != "" {
		return Errorf(CodeInvalidState, "the call is in no conference")
	}
	r.reason = "left"
	c.giveUpSeat(r.seat, "left", a.CommandID)
	return nil
}

// giveUpSeat leaves a conference from the call's side.
func (c *Call) giveUpSeat(s *seat, reason, commandID string) {
	s.conference.insist(func() { s.conference.left(s, reason) })
	c.unseat(s, reason, commandID)
}

// unseated ends the call's activity because the conference put it out.
func (c *Call) unseated(s *seat, reason string) {
	if r := c.running; r != nil && r.seat == s && r.reason == "" {
		r.reason = reason
		c.unseat(s, reason, "")
	}
}

// unseat ends the call's activity.
func (c *Call) unseat(s *seat, reason, commandID string) {
	r := c.running
	joined := c.info.ConferenceID != ""
	id := c.info.ConferenceID
	c.info.ConferenceID = ""
	if !joined { // it never sat down: the join's own command ends here
		o := failure(r.action, Errorf(CodeInvalidState, "%s before it joined", reason))
		if commandID != "" {
			c.publish("call.left", commandID, map[string]any{"conference_id": s.conference.info.ID, "reason": reason})
		}
		r.done <- o
		return
	}
	c.ear.hear(nil)
	r.done <- outcome{
		event: "call.left", command: &commandID, data: map[string]any{"conference_id": id, "reason": reason},
	}
}

// left takes a seat back, from the conference's loop.
func (c *conference) left(s *seat, reason string) {
	if !slices.Contains(c.seats, s) {
		return
	}
	c.remove(s, reason)
	if c.afterwards(s) {
		return
	}
	c.arrange()
	c.tone(c.info.Settings.ExitTone)
}

// remove takes a seat out of the room.
func (c *conference) remove(s *seat, reason string) { c.removeBy(s, reason, "") }

func (c *conference) removeBy(s *seat, reason, commandID string) {
	i := slices.Index(c.seats, s)
	c.seats = append(c.seats[:i:i], c.seats[i+1:]...)
	s.mix.Leave()
	if t := c.tapes[s.info.CallID]; t != nil {
		t.over()
	}
	if s.speaking {
		c.speaking(s.mix, false)
	}
	c.publish("conference.participant.left", commandID, map[string]any{
		"participant": s.snapshot(), "reason": reason, "duration_ms": time.Since(s.info.JoinedAt).Milliseconds(),
	})
}

// afterwards ends the conference if it has no reason to go on without s. It reports whether it has ended.
func (c *conference) afterwards(s *seat) bool {
	moderator := func(s *seat) bool { return s.info.Role == RoleModerator }
	switch {
	case len(c.seats) == 0:
		c.end("empty", "")
	case moderator(s) && c.info.Settings.EndOnModeratorExit && !slices.ContainsFunc(c.seats, moderator):
		c.end("moderator_left", "")
	}
	return c.ended
}

// speaking notes that a seat began or ended to talk.
func (c *conference) speaking(m *mixer.Seat, on bool) {
	i := slices.IndexFunc(c.seats, func(s *seat) bool { return s.mix == m })
	var s *seat
	switch {
	case i >= 0:
		s = c.seats[i]
	default:
		return // it has left
	}
	if s.speaking == on {
		return
	}
	s.speaking = on
	event := "conference.participant.speaking_stopped"
	if on {
		event = "conference.participant.speaking_started"
	}
	c.publish(event, "", map[string]any{"participant": s.snapshot()})
}

func (s *seat) snapshot() ParticipantInfo {
	info := s.info
	info.Speaking = s.speaking
	return info
}

// arrange tells the room how each seat takes part, and plays music to who waits.
func (c *conference) arrange() {
	for _, s := range c.seats {
		silent := c.waiting || s.info.Held
		st := mixer.State{
			Muted: s.info.Muted || silent, Deafened: s.info.Deafened || silent, VolumeDB: s.info.VolumeDB,
		}
		switch s.info.Role {
		case RoleMonitor:
			st.Whisper = []*mixer.Seat{}
		case RoleCoach:
			st.Whisper = c.coached(s)
		case RoleParticipant, RoleModerator: // speak to all
		}
		s.mix.Set(st)
		c.entertain(s)
	}
}

// coached are the seats that s speaks to.
func (c *conference) coached(s *seat) []*mixer.Seat {
	list := []*mixer.Seat{}
	for _, t := range c.seats {
		if slices.Contains(s.info.Coach, t.info.CallID) {
			list = append(list, t.mix)
		}
	}
	return list
}

// entertain plays music to who waits for the moderator, is alone, or held without music of his own.
func (c *conference) entertain(s *seat) {
	if s.sounds == soundHeld || s.sounds == soundPlayed {
		return
	}
	waits := c.music != nil && (c.waiting || len(c.seats) == 1 || s.info.Held)
	switch {
	case waits && s.sounds == soundMix:
		s.sounds = soundMusic
		s.mix.Play(media.NewPlayer(c.music, media.LoopForever))
	case !waits && s.sounds == soundMusic:
		s.sounds = soundMix
		s.mix.Play(nil)
	}
}
