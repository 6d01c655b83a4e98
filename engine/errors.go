package engine

import (
	"errors"
	"fmt"
)

// Code names an error for customers; it is stable, and the API documents each.
type Code string

// The codes that the engine gives. A door may have more of its own.
const (
	CodeValidation       Code = "validation_failed" // a parameter is missing or wrong
	CodeCallNotFound     Code = "call_not_found"    // no such call in this project
	CodeCallEnded        Code = "call_ended"        // the call is over
	CodeInvalidState     Code = "invalid_state"     // the call cannot do that now
	CodeNoRoute          Code = "no_route"          // nothing can dial that address
	CodeNotFound         Code = "not_found"         // no such resource
	CodeConflict         Code = "conflict"          // it exists already, or is in use
	CodeCapacity         Code = "capacity_exceeded" // a limit of this node is reached
	CodeMediaUnavailable Code = "media_unavailable" // a prompt could not be had
	CodeUnsupported      Code = "unsupported"       // known, but not on this leg
	CodeInternal         Code = "internal"          // a fault of ours
	CodeDraining         Code = "node_draining"     // this node takes no new calls
	CodeTimeout          Code = "timeout"           // it took too long

	CodeDestinationDenied Code = "destination_denied" // no trunk may dial that number

	CodeConferenceNotFound  Code = "conference_not_found"  // no such conference in this project
	CodeConferenceEnded     Code = "conference_ended"      // the conference is over
	CodeConferenceLocked    Code = "conference_locked"     // it lets nobody in
	CodeParticipantNotFound Code = "participant_not_found" // the call has no seat in this conference
)

// Error is an error that may be shown to a customer. Everything else reaches customers as CodeInternal.
type Error struct {
	Code    Code
	Message string // a sentence that says what to do
	Pointer string // JSON pointer to the parameter at fault, if one is
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an Error.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Invalid is a CodeValidation error about the parameter at pointer, such as "/url".
func Invalid(pointer, format string, args ...any) *Error {
	return &Error{Code: CodeValidation, Message: fmt.Sprintf(format, args...), Pointer: pointer}
}

// ErrorCode is the code of err: CodeInternal for errors that are not an *Error, "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
