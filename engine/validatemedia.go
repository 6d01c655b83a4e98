package engine

import "strings"

// Limits of what is played and of conferences.
const (
	minVolume = -60 // dB
	maxVolume = 20
	maxName   = 128
	maxCoach  = 50
)

func (a *Play) validate() error {
	return first(
		within("/loop", a.Loop, -1, 10_000), source("/url", a.URL, true), volume(a.VolumeDB),
		within("/start_ms", a.StartMS, 0, 24*3600*1000),
	)
}

func (a *SeekPlayback) validate() error {
	if a.PositionMS == nil && a.VolumeDB == nil {
		return Invalid("/position_ms", "say where to go on (position_ms), or how loud (volume_db)")
	}
	if a.PositionMS != nil {
		if err := within("/position_ms", *a.PositionMS, 0, 24*3600*1000); err != nil {
			return err
		}
	}
	if a.VolumeDB != nil {
		return volume(*a.VolumeDB)
	}
	return nil
}

func (a *Join) validate() error {
	if err := first(
		name("/conference", a.Conference, true), role("/role", a.Role), coached("/coach", a.Role, a.Coach),
		volume(a.VolumeDB),
	); err != nil || a.Settings == nil {
		return err
	}
	return a.Settings.validate("/settings")
}

func (s *ConferenceSettings) validate(at string) error {
	if s.MaxParticipants != 0 {
		if err := within(at+"/max_participants", s.MaxParticipants, 2, maxParticipants); err != nil {
			return err
		}
	}
	return first(
		source(at+"/entry_tone", s.EntryTone, false), source(at+"/exit_tone", s.ExitTone, false),
		source(at+"/music", s.Music, false), oneOf(at+"/record", s.Record, "", "mix", "tracks"),
	)
}

func validateConferenceAction(a ConferenceAction) error {
	switch a := a.(type) {
	case *PlayConference:
		return first(within("/loop", a.Loop, -1, 10_000), source("/url", a.URL, true), volume(a.VolumeDB))
	case *RecordConference:
		return a.validate()
	case *PauseConferenceRecording:
		return oneOf("/fill", a.Fill, "", "silence", "cut")
	case *HoldParticipant:
		return source("/music", a.Music, false)
	case *SetParticipant:
		return a.validate()
	}
	return nil
}

func (a *SetParticipant) validate() error {
	if a.Role == nil && a.Coach == nil && a.VolumeDB == nil {
		return Invalid("/role", "say what to change: role, coach or volume_db")
	}
	if a.Role != nil {
		if err := first(oneOf("/role", string(*a.Role), roles()...)); err != nil {
			return err
		}
	}
	if a.Coach != nil && len(*a.Coach) > maxCoach {
		return Invalid("/coach", "%d calls are more than %d", len(*a.Coach), maxCoach)
	}
	if a.VolumeDB != nil {
		return volume(*a.VolumeDB)
	}
	return nil
}

func roles() []string {
	return []string{string(RoleParticipant), string(RoleModerator), string(RoleMonitor), string(RoleCoach)}
}

func role(pointer string, r Role) error {
	if r == "" {
		return nil
	}
	return oneOf(pointer, string(r), roles()...)
}

func coached(pointer string, r Role, list []string) error {
	switch {
	case len(list) > maxCoach:
		return Invalid(pointer, "%d calls are more than %d", len(list), maxCoach)
	case len(list) > 0 && r != RoleCoach:
		return Invalid(pointer, `is for the role "coach"`)
	}
	return nil
}

func volume(db float64) error {
	if !(db >= minVolume && db <= maxVolume) { // NaN too
		return Invalid("/volume_db", "%g dB is not within %d and %d", db, minVolume, maxVolume)
	}
	return nil
}

// name checks the name, or the id, of a conference.
func name(pointer, v string, required bool) error {
	switch {
	case v == "" && required:
		return Invalid(pointer, "is required: a conference's id, or a name of your choice")
	case len(v) > maxName:
		return Invalid(pointer, "is longer than %d bytes", maxName)
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Invalid(pointer, "has control characters")
	}
	return nil
}
