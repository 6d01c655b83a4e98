package engine

import (
	"encoding/json"
	"time"

	"github.com/tipring/tipring/engine/media"
)

// An Event is what we tell the customer. Its JSON is the wire form (api.md 3.4 names the fields).
type Event struct {
	ID            string          `json:"id"`   // "evt_…", also the webhook-id
	Type          string          `json:"type"` // "call.answered"
	Timestamp     time.Time       `json:"timestamp"`
	Sequence      uint64          `json:"sequence"` // from 1, gap-free per call (or per conference)
	ProjectID     string          `json:"project_id,omitempty"`
	ApplicationID string          `json:"application_id,omitempty"`
	CallID        string          `json:"call_id,omitempty"`
	ConferenceID  string          `json:"conference_id,omitempty"`
	SessionID     string          `json:"session_id,omitempty"`
	CommandID     string          `json:"command_id,omitempty"` // of the command whose end this is
	ClientState   string          `json:"client_state,omitempty"`
	Node          string          `json:"node,omitempty"`
	Epoch         uint64          `json:"epoch,omitempty"`
	Data          json.RawMessage `json:"data"`

	// WebhookURL is the call's own, given when it was originated without an application. It is kept in the log, but
	// customers do not see it.
	WebhookURL string `json:"-"`
	// Call is the call as it stands after the event; the log keeps it as the call's record in the same write.
	Call *CallRecord `json:"-"`
	// Conference is the conference as it stands after the event, whose sequence is the conference's; Recording the recording.
	// The log keeps them as records in the same write.
	Conference *ConferenceInfo `json:"-"`
	Recording  *RecordingInfo  `json:"-"`
	// Answer is set on an event that asks for instructions. Whoever carries the event to the application calls it
	// exactly once, with what the application returned (nil: nothing) or with why it could not be had. It does not block.
	Answer func(*Instructions, error) `json:"-"`
}

// A Sink takes every event of this engine, in order for each call. Publish must not block: it keeps the event (the log
// first, then who listens) or counts it as dropped.
type Sink interface{ Publish(e Event) }

// CallState is where a call stands.
type CallState string

// The states of a call, in order.
const (
	CallInitiated CallState = "initiated" // dialled, or arrived, and nothing more
	CallRinging   CallState = "ringing"
	CallAnswered  CallState = "answered"
	CallEnded     CallState = "ended"
)

// Direction of a call, seen from the platform.
type Direction string

// Inbound calls came to us, outbound calls we made.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// CallInfo is the call resource as the API shows it.
type CallInfo struct {
	ID            string         `json:"id"`
	SessionID     string         `json:"session_id"`
	ProjectID     string         `json:"project_id"`
	ApplicationID string         `json:"application_id,omitempty"`
	State         CallState      `json:"state"`
	Direction     Direction      `json:"direction"`
	From          string         `json:"from"`
	To            string         `json:"to"`
	Node          string         `json:"node,omitempty"`
	Activity      string         `json:"activity,omitempty"` // "play", "gather", "bridge", "echo", "wait"
	BridgedWith   string         `json:"bridged_with,omitempty"`
	ConferenceID  string         `json:"conference_id,omitempty"` // where it has a seat
	Recording     string         `json:"recording,omitempty"`     // id of the recording under way
	Held          bool           `json:"held"`                    // by us
	HeldByPeer    bool           `json:"held_by_peer"`            // by the far end
	Muted         []string       `json:"muted,omitempty"`         // directions: "in", "out"
	TrunkID       string         `json:"trunk_id,omitempty"`
	SIPCallID     string         `json:"sip_call_id,omitempty"` // inbound only
	Media         *media.Quality `json:"media,omitempty"`
	CreatedAt     time.Time      `json:"created_at"`
	AnsweredAt    *time.Time     `json:"answered_at,omitempty"`
	EndedAt       *time.Time     `json:"ended_at,omitempty"`
	Hangup        *Cause         `json:"hangup,omitempty"`
	ClientState   string         `json:"client_state,omitempty"`
	LastSequence  uint64         `json:"last_sequence"` // of its newest event
}

// CallRecord is what the store keeps of a call.
type CallRecord struct {
	Info     CallInfo          `json:"info"`
	Commands map[string]string `json:"commands,omitempty"` // command_id → action, of accepted commands
}

// Instructions is what an application returns: a list of commands, and whether they replace the call's program (and
// what runs) or are added to its end.
type Instructions struct {
	Instructions []Instruction `json:"instructions"`
	Mode         Mode          `json:"mode,omitempty"`
}

// Mode of Instructions; the zero Mode is ModeReplace.
type Mode string

// The modes.
const (
	ModeReplace Mode = "replace"
	ModeAppend  Mode = "append"
)
