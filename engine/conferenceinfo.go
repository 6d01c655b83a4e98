package engine

import "time"

// ConferenceState is where a conference stands.
type ConferenceState string

// The states of a conference, in order.
const (
	ConferenceWaiting ConferenceState = "waiting" // for its moderator, or for its first participant
	ConferenceActive  ConferenceState = "active"
	ConferenceEnded   ConferenceState = "ended"
)

// ConferenceInfo is the conference resource as the API shows it.
type ConferenceInfo struct {
	ID            string             `json:"id"`
	ProjectID     string             `json:"project_id"`
	ApplicationID string             `json:"application_id,omitempty"`
	Name          string             `json:"name,omitempty"`
	State         ConferenceState    `json:"state"`
	Locked        bool               `json:"locked"`
	Recording     string             `json:"recording,omitempty"` // id of the recording of the mix under way
	Settings      ConferenceSettings `json:"settings"`
	Participants  []ParticipantInfo  `json:"participants"` // those who are in, in the order in which they came
	Node          string             `json:"node,omitempty"`
	CreatedAt     time.Time          `json:"created_at"`
	StartedAt     *time.Time         `json:"started_at,omitempty"`
	EndedAt       *time.Time         `json:"ended_at,omitempty"`
	EndReason     string             `json:"end_reason,omitempty"`
	LastSequence  uint64             `json:"last_sequence"` // of its newest event
}

// ParticipantInfo is a call's seat in a conference.
type ParticipantInfo struct {
	CallID   string    `json:"call_id"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to,omitempty"`
	Role     Role      `json:"role"`
	Coach    []string  `json:"coach,omitempty"` // call ids
	Muted    bool      `json:"muted"`
	Deafened bool      `json:"deafened"`
	Held     bool      `json:"held"`
	Speaking bool      `json:"speaking"`
	VolumeDB float64   `json:"volume_db"`
	JoinedAt time.Time `json:"joined_at"`
}

// RecordingState is where a recording stands.
type RecordingState string

// The states of a recording.
const (
	RecordingRunning RecordingState = "recording"
	RecordingPaused  RecordingState = "paused"
	RecordingSaved   RecordingState = "saved"
	RecordingFailed  RecordingState = "failed"
	RecordingDeleted RecordingState = "deleted"
)

// RecordingInfo is the recording resource as the API shows it.
type RecordingInfo struct {
	ID           string         `json:"id"`
	ProjectID    string         `json:"project_id"`
	CallID       string         `json:"call_id,omitempty"`
	SessionID    string         `json:"session_id,omitempty"`
	ConferenceID string         `json:"conference_id,omitempty"`
	State        RecordingState `json:"state"`
	Format       string         `json:"format"`             // "wav" or "ogg"
	Tracks       string         `json:"tracks"`             // as asked
	Channels     int            `json:"channels,omitempty"` // of the file, when it is saved
	DurationMS   int64          `json:"duration_ms"`
	Size         int64          `json:"size"` // bytes
	SHA256       string         `json:"sha256,omitempty"`
	Dropped      int64          `json:"dropped_ms,omitempty"` // audio that was lost because the disk was too slow
	Node         string         `json:"node,omitempty"`
	Error        string         `json:"error,omitempty"`
	CreatedAt    time.Time      `json:"created_at"`
	EndedAt      *time.Time     `json:"ended_at,omitempty"`
}
