package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// Frames that we send. Each is one JSON text message.
type (
	welcomeFrame struct {
		Type          string         `json:"type"` // "welcome"
		ConnectionID  string         `json:"connection_id"`
		ProjectID     string         `json:"project_id,omitempty"`
		ApplicationID string         `json:"application_id,omitempty"`
		After         session.Cursor `json:"after,omitempty"` // events follow from here
		HeartbeatS    int            `json:"heartbeat_s"`     // we ping this often
	}
	subscribedFrame struct {
		Type  string         `json:"type"` // "subscribed"
		After session.Cursor `json:"after"`
	}
	eventFrame struct {
		Type    string         `json:"type"` // "event"
		Cursor  session.Cursor `json:"cursor"`
		Request bool           `json:"request,omitempty"` // the call waits for instructions
		Event   *engine.Event  `json:"event"`
	}
	replyFrame struct {
		Type         string                  `json:"type"` // "reply"
		CommandID    string                  `json:"command_id,omitempty"`
		EventID      string                  `json:"event_id,omitempty"`
		CallID       string                  `json:"call_id,omitempty"`
		ConferenceID string                  `json:"conference_id,omitempty"`
		Status       string                  `json:"status"` // "accepted", "error"
		Replayed     bool                    `json:"replayed,omitempty"`
		Call         *engine.CallInfo        `json:"call,omitempty"`
		Conference   *engine.ConferenceInfo  `json:"conference,omitempty"`
		Participant  *engine.ParticipantInfo `json:"participant,omitempty"`
		RecordingID  string                  `json:"recording_id,omitempty"`
		Error        *problem.Details        `json:"error,omitempty"`
	}
	laggedFrame struct {
		Type   string         `json:"type"` // "lagged"
		Cursor session.Cursor `json:"cursor"`
	}
	errorFrame struct {
		Type  string          `json:"type"` // "error"
		Error problem.Details `json:"error"`
	}
	pongFrame struct {
		Type string `json:"type"` // "pong"
	}
)

// Subscription says which events a subscriber wants; empty fields match all.
type Subscription struct {
	Types         []string        `json:"types,omitempty"` // types, or prefixes ending in "*"
	CallID        string          `json:"call_id,omitempty"`
	ConferenceID  string          `json:"conference_id,omitempty"`
	ApplicationID string          `json:"application_id,omitempty"`
	After         *session.Cursor `json:"after,omitempty"` // nil: from now on; "": from the log's start
}

// Match reports whether the subscriber wants e.
func (s *Subscription) Match(e *engine.Event) bool {
	return (s.CallID == "" || s.CallID == e.CallID) &&
		(s.ConferenceID == "" || s.ConferenceID == e.ConferenceID) &&
		(s.ApplicationID == "" || s.ApplicationID == e.ApplicationID) &&
		MatchType(s.Types, e.Type)
}

// MatchType reports whether typ is one of patterns: types, or prefixes ending in "*". No pattern at all matches.
func MatchType(patterns []string, typ string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == typ || ok && strings.HasPrefix(typ, prefix) {
			return true
		}
	}
	return len(patterns) == 0
}

// Frames that arrive.
type (
	commandFrame struct {
		commandID    string
		callID       string
		conferenceID string

		originate  *engine.Originate // or
		action     engine.Action     // or
		conference engine.ConferenceAction
	}
	instructionsFrame struct {
		CommandID string `json:"command_id"`
		EventID   string `json:"event_id"`
		CallID    string `json:"call_id"`
		engine.Instructions
	}
	ackFrame struct {
		Cursor session.Cursor `json:"cursor"`
	}
	pingFrame struct{}
)

const (
	maxTypes  = 64
	maxIDSize = 128
)

// decodeFrame reads a frame: *Subscription, *commandFrame, *instructionsFrame, *ackFrame or *pingFrame. With an error
// about a command or instructions the frame is given as well, as far as it could be read, so that the reply can name it.
// Errors are *engine.Error.
func decodeFrame(b []byte) (any, error) {
	var fields map[string]json.RawMessage
	if err := decodeOne(b, &fields); err != nil || fields == nil {
		return nil, engine.Errorf(problem.CodeMalformed, "a frame is one JSON object with a type")
	}
	var typ string
	if err := json.Unmarshal(fields["type"], &typ); err != nil {
		return nil, engine.Invalid("/type", "a frame needs a type")
	}
	delete(fields, "type")
	switch typ {
	case "subscribe":
		s := new(Subscription)
		if err := decodeFields(fields, s); err != nil {
			return nil, err
		}
		if len(s.Types) > maxTypes {
			return nil, engine.Invalid("/types", "are over %d", maxTypes)
		}
		return s, nil
	case "command":
		return decodeCommand(fields)
	case "instructions":
		f := new(instructionsFrame)
		err := decodeFields(fields, f)
		if err == nil {
			err = checkMode(f.Mode)
		}
		return f, err
	case "ack":
		f := new(ackFrame)
		if err := decodeFields(fields, f); err != nil {
			return nil, err
		}
		return f, nil
	case "ping":
		return new(pingFrame), nil
	}
	return nil, engine.Invalid("/type", "there is no frame of type %.40q", typ)
}

// decodeCommand reads the flat form: the parameters of the action beside type, command_id, call_id and action.
func decodeCommand(fields map[string]json.RawMessage) (*commandFrame, error) {
	f := new(commandFrame)
	var name string
	for _, member := range []struct {
		name string
		to   *string
	}{
		{"command_id", &f.commandID}, {"call_id", &f.callID}, {"conference_id", &f.conferenceID}, {"action", &name},
	} {
		raw, ok := fields[member.name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, member.to); err != nil || len(*member.to) > maxIDSize {
			return f, engine.Invalid("/"+member.name, "is a string of at most %d bytes", maxIDSize)
		}
		delete(fields, member.name)
	}
	if name == "" {
		return f, engine.Invalid("/action", "a command needs an action")
	}
	if name == "originate" {
		if f.callID != "" {
			return f, engine.Invalid("/call_id", "originate makes a new call")
		}
		f.originate = new(engine.Originate)
		return f, decodeFields(fields, f.originate)
	}
	params, err := json.Marshal(fields)
	if err != nil {
		return f, engine.Errorf(problem.CodeMalformed, "not JSON: %v", err)
	}
	if f.conferenceID != "" {
		return f, f.decodeConference(name, params)
	}
	action, err := engine.DecodeAction(name, params)
	if err != nil {
		return f, err
	}
	if f.callID == "" {
		return f, engine.Invalid("/call_id", "a command needs a call")
	}
	f.action = action
	f.action.Head().CallID, f.action.Head().CommandID = f.callID, f.commandID
	return f, nil
}

// decodeConference reads a command to a conference or, with a call, to its seat there.
func (f *commandFrame) decodeConference(name string, params []byte) (err error) {
	if f.conference, err = engine.DecodeConferenceAction(name, f.callID != "", params); err != nil {
		return err
	}
	head := f.conference.Conference()
	head.ConferenceID, head.Participant, head.CommandID = f.conferenceID, f.callID, f.commandID
	return nil
}

func decodeFields(fields map[string]json.RawMessage, v any) error {
	b, err := json.Marshal(fields)
	if err == nil {
		err = decodeOne(b, v)
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return engine.Invalid("/"+strings.ReplaceAll(e.Field, ".", "/"), "cannot be a JSON %s", e.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return engine.Invalid("/"+strings.Trim(field, `"`), "there is no member of this name")
	}
	return engine.Errorf(problem.CodeMalformed, "not JSON: %v", err)
}

func decodeOne(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return engine.Errorf(problem.CodeMalformed, "there is something behind the JSON value")
	}
	return nil
}

func checkMode(m engine.Mode) error {
	if m != "" && m != engine.ModeReplace && m != engine.ModeAppend {
		return engine.Invalid("/mode", "is replace or append")
	}
	return nil
}

// DecodeInstructions reads what an application returned: {"instructions":[…],"mode":"replace"}. Nothing, {} and an
// empty list are nil: the application has nothing to say. Errors are *engine.Error with CodeValidation or
// problem.CodeMalformed.
func DecodeInstructions(b []byte) (*engine.Instructions, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil //nolint:nilnil // nothing was said, and that is fine
	}
	var fields map[string]json.RawMessage
	if err := decodeOne(b, &fields); err != nil || fields == nil {
		return nil, engine.Errorf(problem.CodeMalformed, "instructions are one JSON object")
	}
	ins := new(engine.Instructions)
	if err := decodeFields(fields, ins); err != nil {
		return nil, err
	}
	for i, in := range ins.Instructions {
		if in.Action == nil {
			return nil, engine.Invalid("/instructions", "entry %d is null", i)
		}
	}
	if err := checkMode(ins.Mode); err != nil {
		return nil, err
	}
	if len(ins.Instructions) == 0 {
		return nil, nil //nolint:nilnil // an empty list says nothing
	}
	return ins, nil
}
