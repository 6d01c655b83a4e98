package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// NewAction makes the empty action of that name.
func NewAction(name string) (Action, bool) {
	switch name {
	case "answer":
		return new(Answer), true
	case "ring":
		return new(Ring), true
	case "reject":
		return new(Reject), true
	case "hangup":
		return new(Hangup), true
	case "play":
		return new(Play), true
	case "pause_playback":
		return new(PausePlayback), true
	case "resume_playback":
		return new(ResumePlayback), true
	case "seek_playback":
		return new(SeekPlayback), true
	case "gather":
		return new(Gather), true
	case "bridge":
		return new(Bridge), true
	case "unbridge":
		return new(Unbridge), true
	case "join":
		return new(Join), true
	case "leave":
		return new(Leave), true
	case "hold":
		return new(Hold), true
	case "unhold":
		return new(Unhold), true
	case "mute":
		return new(Mute), true
	case "unmute":
		return new(Unmute), true
	case "send_dtmf":
		return new(SendDTMF), true
	case "echo":
		return new(Echo), true
	case "wait":
		return new(Wait), true
	case "start_recording":
		return new(StartRecording), true
	case "stop_recording":
		return new(StopRecording), true
	case "pause_recording":
		return new(PauseRecording), true
	case "resume_recording":
		return new(ResumeRecording), true
	case "stop":
		return new(Stop), true
	case "run":
		return new(Run), true
	}
	return nil, false
}

// NewConferenceAction makes the empty action of that name, to a conference or to one of its participants.
func NewConferenceAction(name string, participant bool) (ConferenceAction, bool) {
	list := []ConferenceAction{
		new(LockConference), new(UnlockConference), new(EndConference), new(PlayConference), new(StopConferencePlay),
		new(RecordConference), new(StopConferenceRecording), new(PauseConferenceRecording), new(ResumeConferenceRecording),
	}
	if participant {
		list = []ConferenceAction{
			new(MuteParticipant), new(UnmuteParticipant), new(DeafenParticipant), new(UndeafenParticipant),
			new(HoldParticipant), new(UnholdParticipant), new(KickParticipant), new(SetParticipant),
			new(PlayConference), new(StopConferencePlay),
		}
	}
	for _, a := range list {
		if a.Name() == name {
			return a, true
		}
	}
	return nil, false
}

// DecodeAction reads the parameters of an action from a JSON object; empty input is an empty object. Unknown
// parameters are errors. The values are checked when the command runs.
func DecodeAction(name string, params []byte) (Action, error) {
	a, ok := NewAction(name)
	if !ok {
		return nil, Invalid("/action", "there is no action %q", name)
	}
	if err := decodeParams(params, a); err != nil {
		return nil, err
	}
	return a, nil
}

// DecodeConferenceAction is DecodeAction for NewConferenceAction.
func DecodeConferenceAction(name string, participant bool, params []byte) (ConferenceAction, error) {
	a, ok := NewConferenceAction(name, participant)
	if !ok {
		return nil, Invalid("/action", "there is no action %q here", name)
	}
	if err := decodeParams(params, a); err != nil {
		return nil, err
	}
	return a, nil
}

func decodeParams(params []byte, a any) error {
	if len(bytes.TrimSpace(params)) == 0 {
		return nil
	}
	return decodeStrict(params, a)
}

// UnmarshalJSON reads {"action":"play","url":…}.
func (i *Instruction) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return Errorf(CodeValidation, "an instruction is an object with an action: %v", err)
	}
	var name string
	if err := json.Unmarshal(fields["action"], &name); err != nil {
		return Invalid("/action", "an instruction needs an action")
	}
	if name == "run" {
		return Invalid("/action", "run is not an instruction: lists do not nest")
	}
	delete(fields, "action")
	params, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	i.Action, err = DecodeAction(name, params)
	return err
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (i Instruction) MarshalJSON() ([]byte, error) {
	if i.Action == nil {
		return []byte("null"), nil
	}
	params, err := json.Marshal(i.Action)
	if err != nil {
		return nil, err
	}
	out := []byte(`{"action":"` + i.Name() + `"`)
	if len(params) > 2 { // not "{}"
		out = append(append(out, ','), params[1:]...)
		return out, nil
	}
	return append(out, '}'), nil
}

// decodeStrict reads one JSON value into v and names what is wrong with it.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return Errorf(CodeValidation, "there is something behind the JSON value")
		}
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Invalid("/"+strings.ReplaceAll(e.Field, ".", "/"), "is a JSON %s, but should be a %s", e.Value, e.Type)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Invalid("/"+strings.Trim(field, `"`), "there is no parameter of this name")
	}
	return Errorf(CodeValidation, "not JSON: %v", err)
}
