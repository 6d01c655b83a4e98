package engine

// ConferenceHeader is what all commands to a conference have in common.
type ConferenceHeader struct {
	ConferenceID string `json:"-"` // or its name
	// Participant is the call whose seat is meant: its id. "" is the whole conference.
	Participant string `json:"-"`
	ProjectID   string `json:"-"`
	CommandID   string `json:"command_id,omitempty"`
}

// Target is the conference.
func (h *ConferenceHeader) Target() string { return h.ConferenceID }

// Conference is h itself; it makes structs that embed a ConferenceHeader into ConferenceActions.
func (h *ConferenceHeader) Conference() *ConferenceHeader { return h }

// A ConferenceAction is a command to a conference or to one seat of it:
// POST /v1/conferences/{conference_id}/actions/{Name} and
// POST /v1/conferences/{conference_id}/participants/{call_id}/actions/{Name}.
type ConferenceAction interface {
	Command
	Name() string
	Conference() *ConferenceHeader
}

// Role is what a participant may do in a conference.
type Role string

// The roles. A monitor hears all and is heard by nobody; a coach hears all and is heard by those only whom it coaches.
const (
	RoleParticipant Role = "participant"
	RoleModerator   Role = "moderator"
	RoleMonitor     Role = "monitor"
	RoleCoach       Role = "coach"
)

// ConferenceSettings are how a conference goes about.
type ConferenceSettings struct {
	MaxParticipants    int    `json:"max_participants,omitempty"`      // 2…5000; 0: 5000
	StartOnModerator   bool   `json:"start_on_moderator,omitempty"`    // until one has come, nobody hears another
	EndOnModeratorExit bool   `json:"end_on_moderator_exit,omitempty"` // when the last moderator leaves, all are let go
	EntryTone          string `json:"entry_tone,omitempty"`            // a play URL; "": none
	ExitTone           string `json:"exit_tone,omitempty"`             // a play URL; "": none
	Music              string `json:"music,omitempty"`                 // a play URL, looped while one is alone or waits for the moderator; "": silence
	Record             string `json:"record,omitempty"`                // "mix": recorded from its start; "tracks": each call too; "": not
	ApplicationID      string `json:"application_id,omitempty"`        // whose webhook gets the conference's events; "": of who opened it
}

// OpenConference makes a conference: POST /v1/conferences. It is a CodeConflict if one of the name is there.
type OpenConference struct {
	ProjectID    string `json:"-"`
	ConferenceID string `json:"-"` // made by the engine if empty
	Name         string `json:"name,omitempty"`
	ConferenceSettings
}

// Target is the conference to be: project and name decide where it lives.
func (c *OpenConference) Target() string { return c.ConferenceID }

// InspectConference reads a conference that lives here.
type InspectConference struct{ ConferenceID, ProjectID string }

// Target is the conference.
func (c *InspectConference) Target() string { return c.ConferenceID }

// LockConference lets nobody in any more.
type LockConference struct{ ConferenceHeader }

// UnlockConference undoes LockConference.
type UnlockConference struct{ ConferenceHeader }

// EndConference lets all participants go: each call's program goes on.
type EndConference struct{ ConferenceHeader }

// PlayConference plays to all, mixed with what they say, or to one participant, in the place of what he hears.
type PlayConference struct {
	ConferenceHeader
	URL      string  `json:"url"`
	Loop     int     `json:"loop,omitempty"`
	VolumeDB float64 `json:"volume_db,omitempty"` // −60…20
}

// StopConferencePlay ends what PlayConference began.
type StopConferencePlay struct{ ConferenceHeader }

// RecordConference records the mix.
type RecordConference struct {
	ConferenceHeader
	RecordingOptions
}

// StopConferenceRecording ends the recording of the mix.
type StopConferenceRecording struct{ ConferenceHeader }

// PauseConferenceRecording lets it wait.
type PauseConferenceRecording struct {
	ConferenceHeader
	Fill string `json:"fill,omitempty"` // "silence" (default) or "cut"
}

// ResumeConferenceRecording lets it go on.
type ResumeConferenceRecording struct{ ConferenceHeader }

// Commands to one participant.

// MuteParticipant lets nobody hear him.
type MuteParticipant struct{ ConferenceHeader }

// UnmuteParticipant undoes MuteParticipant.
type UnmuteParticipant struct{ ConferenceHeader }

// DeafenParticipant lets him hear nobody.
type DeafenParticipant struct{ ConferenceHeader }

// UndeafenParticipant undoes DeafenParticipant.
type UndeafenParticipant struct{ ConferenceHeader }

// HoldParticipant lets him hear music and nobody hear him, without a re-INVITE.
type HoldParticipant struct {
	ConferenceHeader
	Music string `json:"music,omitempty"` // a play URL, looped; "": the conference's
}

// UnholdParticipant undoes HoldParticipant.
type UnholdParticipant struct{ ConferenceHeader }

// KickParticipant puts him out; his call's program goes on.
type KickParticipant struct{ ConferenceHeader }

// SetParticipant changes his role, whom he coaches, and how loud others hear him. What is nil stays.
type SetParticipant struct {
	ConferenceHeader
	Role     *Role     `json:"role,omitempty"`
	Coach    *[]string `json:"coach,omitempty"`     // call ids
	VolumeDB *float64  `json:"volume_db,omitempty"` // −60…20
}

func (*LockConference) Name() string            { return "lock" }
func (*UnlockConference) Name() string          { return "unlock" }
func (*EndConference) Name() string             { return "end" }
func (*PlayConference) Name() string            { return "play" }
func (*StopConferencePlay) Name() string        { return "stop_playback" }
func (*RecordConference) Name() string          { return "start_recording" }
func (*StopConferenceRecording) Name() string   { return "stop_recording" }
func (*PauseConferenceRecording) Name() string  { return "pause_recording" }
func (*ResumeConferenceRecording) Name() string { return "resume_recording" }
func (*MuteParticipant) Name() string           { return "mute" }
func (*UnmuteParticipant) Name() string         { return "unmute" }
func (*DeafenParticipant) Name() string         { return "deafen" }
func (*UndeafenParticipant) Name() string       { return "undeafen" }
func (*HoldParticipant) Name() string           { return "hold" }
func (*UnholdParticipant) Name() string         { return "unhold" }
func (*KickParticipant) Name() string           { return "kick" }
func (*SetParticipant) Name() string            { return "set" }
