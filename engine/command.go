package engine

// A Command is one thing that the customer tells us: the body of a REST request, an entry of a list of instructions, a
// frame of /v1/stream, and the envelope between nodes.
type Command interface {
	Target() string // the id that decides which node runs the command
}

// An Action is a command to one call: POST /v1/calls/{call_id}/actions/{Name}.
type Action interface {
	Command
	Name() string  // "play"
	Head() *Header // whom it is for
}

// Header is what all actions have in common.
type Header struct {
	CallID    string `json:"-"`
	ProjectID string `json:"-"` // of who asks; a call of another project does not exist for him. "": the platform
	CommandID string `json:"command_id,omitempty"`
}

// Target is the call.
func (h *Header) Target() string { return h.CallID }

// Head is h itself; it makes structs that embed a Header into Actions.
func (h *Header) Head() *Header { return h }

// Originate starts a call: POST /v1/calls.
type Originate struct {
	ProjectID     string            `json:"-"`
	CallID        string            `json:"-"` // made by the engine if empty
	From          string            `json:"from,omitempty"`
	To            string            `json:"to"`
	ApplicationID string            `json:"application_id,omitempty"`
	WebhookURL    string            `json:"webhook_url,omitempty"`
	Instructions  []Instruction     `json:"instructions,omitempty"` // run when the call is answered
	OnIdle        OnIdle            `json:"on_idle,omitempty"`
	RingTimeoutS  int               `json:"ring_timeout_s,omitempty"` // 1…600; 0: 60
	MaxDurationS  int               `json:"max_duration_s,omitempty"` // 1…86400 after the answer; 0: 14400
	Headers       map[string]string `json:"headers,omitempty"`
	Auth          *Credentials      `json:"auth,omitempty"`
	TrunkID       string            `json:"trunk_id,omitempty"` // to dial a number through; "": the one that reaches it best
	ClientState   string            `json:"client_state,omitempty"`
	Codecs        []string          `json:"codecs,omitempty"`     // in this order and no others: "opus", "G722", "PCMU", "PCMA"
	SessionID     string            `json:"session_id,omitempty"` // to join the session of another call
}

// Target is the session if one is named, else the call to be.
func (c *Originate) Target() string {
	if c.SessionID != "" {
		return c.SessionID
	}
	return c.CallID
}

// Inspect reads a call.
type Inspect struct{ CallID, ProjectID string }

// Target is the call.
func (c *Inspect) Target() string { return c.CallID }

// InspectTrail reads the trail of a call that lives, or did a moment ago.
type InspectTrail struct{ CallID, ProjectID string }

// Target is the call.
func (c *InspectTrail) Target() string { return c.CallID }

// Answer takes an inbound call.
type Answer struct{ Header }

// Ring tells the caller that it rings; with EarlyMedia he can hear us before the answer.
type Ring struct {
	Header
	EarlyMedia bool `json:"early_media,omitempty"`
}

// Reject refuses an inbound call that was not answered.
type Reject struct {
	Header
	Status  int               `json:"status,omitempty"` // SIP, 300…699; 0: 603
	Text    string            `json:"reason,omitempty"` // reason phrase
	Headers map[string]string `json:"headers,omitempty"`
}

// Hangup ends a call in whatever state it is.
type Hangup struct {
	Header
	Cause Reason `json:"cause,omitempty"` // "normal" (default), "busy", "rejected", …
}

// Play plays audio to the call.
type Play struct {
	Header
	URL      string  `json:"url"`                 // http(s)://…, file:name.wav (media folder), tone:440/1000, tone:busy, …
	Loop     int     `json:"loop,omitempty"`      // times; 0 and 1: once, -1: for ever
	VolumeDB float64 `json:"volume_db,omitempty"` // −60…20
	StartMS  int     `json:"start_ms,omitempty"`  // where in the audio to begin
}

// PausePlayback halts what Play plays; the far end hears silence.
type PausePlayback struct{ Header }

// ResumePlayback goes on where PausePlayback halted.
type ResumePlayback struct{ Header }

// SeekPlayback goes on elsewhere in the audio that Play plays, and may change how loud it is.
type SeekPlayback struct {
	Header
	PositionMS *int     `json:"position_ms,omitempty"` // from the beginning of the audio; nil: stays
	VolumeDB   *float64 `json:"volume_db,omitempty"`   // nil: stays
}

// Join gives the call a seat in a conference until it leaves.
type Join struct {
	Header
	Conference string `json:"conference"`     // id, or a name, which opens the conference if it is not there
	Role       Role   `json:"role,omitempty"` // "": participant
	// Coach are the calls that a coach speaks to.
	Coach    []string `json:"coach,omitempty"`
	Muted    bool     `json:"muted,omitempty"`
	Deafened bool     `json:"deafened,omitempty"`
	VolumeDB float64  `json:"volume_db,omitempty"` // how loud others hear it, −60…20
	// Settings are for the conference, if this opens it.
	Settings *ConferenceSettings `json:"settings,omitempty"`
}

// Leave gives the seat up; the call's program goes on.
type Leave struct{ Header }

// Gather collects digits.
type Gather struct {
	Header
	Prompt             *Prompt `json:"prompt,omitempty"`
	MinDigits          int     `json:"min_digits,omitempty"`             // 0: 1
	MaxDigits          int     `json:"max_digits,omitempty"`             // 0: 32
	FinishOnKey        string  `json:"finish_on_key,omitempty"`          // any of these ends it and is not part of the digits; "": "#"; "none": no key
	TimeoutMS          int     `json:"timeout_ms,omitempty"`             // for the first digit, from the prompt's end; 0: 10000
	InterDigitTimeout  int     `json:"inter_digit_timeout_ms,omitempty"` // 0: 3000
	KeepPromptOnDigits bool    `json:"keep_prompt_on_digits,omitempty"`  // digits do not stop the prompt
}

// Prompt is what gather plays first.
type Prompt struct {
	URL  string `json:"url"`
	Loop int    `json:"loop,omitempty"`
}

// Bridge connects the call with another one, or with somebody whom it dials.
type Bridge struct {
	Header
	With         string            `json:"with,omitempty"` // a call
	To           string            `json:"to,omitempty"`   // or an address to dial
	From         string            `json:"from,omitempty"` // caller id for To; "": the caller's
	RingTimeoutS int               `json:"ring_timeout_s,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	Auth         *Credentials      `json:"auth,omitempty"`
	TrunkID      string            `json:"trunk_id,omitempty"`     // as in Originate
	Ringback     string            `json:"ringback,omitempty"`     // a play URL; "": tone:ringback; "none"
	ClientState  string            `json:"client_state,omitempty"` // of the call that To makes
	OnPeerHangup PeerHangup        `json:"on_peer_hangup,omitempty"`
	Codecs       []string          `json:"codecs,omitempty"` // for To, as in Originate
}

// PeerHangup is what a bridged call does when the other side hangs up.
type PeerHangup string

// What follows the other side's hang-up. The zero value continues if the call runs a program, else hangs up.
const (
	PeerHangupContinue PeerHangup = "continue"
	PeerHangupHangup   PeerHangup = "hangup"
)

// Unbridge parts two bridged calls; both go on.
type Unbridge struct{ Header }

// Hold puts the far end on hold, with music or silence.
type Hold struct {
	Header
	Music string `json:"music,omitempty"` // a play URL, looped; "": silence
}

// Unhold takes it back.
type Unhold struct{ Header }

// Mute silences a direction.
type Mute struct {
	Header
	Direction string `json:"direction,omitempty"` // "in" (default: what the far end says), "out" (what it hears), "both"
}

// Unmute undoes Mute.
type Unmute struct {
	Header
	Direction string `json:"direction,omitempty"`
}

// SendDTMF keys digits to the far end.
type SendDTMF struct {
	Header
	Digits string `json:"digits"`
}

// Echo lets the far end hear itself until something else is asked of the call.
type Echo struct {
	Header
	DurationMS int `json:"duration_ms,omitempty"` // 0: until the call ends
}

// Wait lets time pass in a program.
type Wait struct {
	Header
	DurationMS int `json:"duration_ms"`
}

// Stop ends what the call does now; with All the rest of its program too.
type Stop struct {
	Header
	All bool `json:"all,omitempty"`
}

// Run gives the call a list of instructions: POST /v1/calls/{call_id}/actions/run.
type Run struct {
	Header
	Instructions
}

func (*Answer) Name() string   { return "answer" }
func (*Ring) Name() string     { return "ring" }
func (*Reject) Name() string   { return "reject" }
func (*Hangup) Name() string   { return "hangup" }
func (*Play) Name() string     { return "play" }
func (*Gather) Name() string   { return "gather" }
func (*Bridge) Name() string   { return "bridge" }
func (*Unbridge) Name() string { return "unbridge" }
func (*Hold) Name() string     { return "hold" }
func (*Unhold) Name() string   { return "unhold" }
func (*Mute) Name() string     { return "mute" }
func (*Unmute) Name() string   { return "unmute" }
func (*SendDTMF) Name() string { return "send_dtmf" }
func (*Echo) Name() string     { return "echo" }
func (*Wait) Name() string     { return "wait" }
func (*Stop) Name() string     { return "stop" }
func (*Run) Name() string      { return "run" }

func (*PausePlayback) Name() string   { return "pause_playback" }
func (*ResumePlayback) Name() string  { return "resume_playback" }
func (*SeekPlayback) Name() string    { return "seek_playback" }
func (*Join) Name() string            { return "join" }
func (*Leave) Name() string           { return "leave" }
func (*StartRecording) Name() string  { return "start_recording" }
func (*StopRecording) Name() string   { return "stop_recording" }
func (*PauseRecording) Name() string  { return "pause_recording" }
func (*ResumeRecording) Name() string { return "resume_recording" }

// Instruction is an Action in a list, as JSON {"action":"play","url":…}.
type Instruction struct{ Action }

// Reply is what Do returns.
type Reply struct {
	Call      *CallInfo // as it stands after the command was accepted
	CommandID string    // given, or made by us
	Replayed  bool      // the command_id was seen before: nothing was done again

	Conference  *ConferenceInfo  // of a command to a conference
	Participant *ParticipantInfo // of a command to a seat
	RecordingID string           // of a command that began a recording
	Trail       *TrailRecord     // of InspectTrail
}
