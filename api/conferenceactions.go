package api

import (
	"context"

	"github.com/tipring/tipring/engine"
)

// direct runs a command on a conference, or with a call on its seat there.
func (h *handlers) direct(
	ctx context.Context, conference, call string, a engine.ConferenceAction,
) (ConferenceAccepted, *string, error) {
	head := a.Conference()
	head.ConferenceID, head.Participant, head.ProjectID = conference, call, project(ctx)
	reply, err := h.do(ctx, a)
	if err != nil {
		return ConferenceAccepted{}, nil, err
	}
	body := ConferenceAccepted{
		CommandID: reply.CommandID, ConferenceID: conference, Status: ConferenceAcceptedStatusAccepted,
		Conference: reply.Conference, Participant: reply.Participant, RecordingID: optional(reply.RecordingID),
	}
	if reply.Conference != nil {
		body.ConferenceID = reply.Conference.ID
	}
	return body, replayed(reply.Replayed), nil
}

// The actions. Each is the command that its body is.

// LockConference implements StrictServerInterface.
func (h *handlers) LockConference(
	ctx context.Context, r LockConferenceRequestObject,
) (LockConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return LockConference202JSONResponse{body, LockConference202ResponseHeaders{again}}, err
}

// UnlockConference implements StrictServerInterface.
func (h *handlers) UnlockConference(
	ctx context.Context, r UnlockConferenceRequestObject,
) (UnlockConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return UnlockConference202JSONResponse{body, UnlockConference202ResponseHeaders{again}}, err
}

// EndConference implements StrictServerInterface.
func (h *handlers) EndConference(
	ctx context.Context, r EndConferenceRequestObject,
) (EndConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return EndConference202JSONResponse{body, EndConference202ResponseHeaders{again}}, err
}

// PlayToConference implements StrictServerInterface.
func (h *handlers) PlayToConference(
	ctx context.Context, r PlayToConferenceRequestObject,
) (PlayToConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return PlayToConference202JSONResponse{body, PlayToConference202ResponseHeaders{again}}, err
}

// StopPlaybackToConference implements StrictServerInterface.
func (h *handlers) StopPlaybackToConference(
	ctx context.Context, r StopPlaybackToConferenceRequestObject,
) (StopPlaybackToConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return StopPlaybackToConference202JSONResponse{body, StopPlaybackToConference202ResponseHeaders{again}}, err
}

// StartRecordingOfConference implements StrictServerInterface.
func (h *handlers) StartRecordingOfConference(
	ctx context.Context, r StartRecordingOfConferenceRequestObject,
) (StartRecordingOfConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return StartRecordingOfConference202JSONResponse{body, StartRecordingOfConference202ResponseHeaders{again}}, err
}

// StopRecordingOfConference implements StrictServerInterface.
func (h *handlers) StopRecordingOfConference(
	ctx context.Context, r StopRecordingOfConferenceRequestObject,
) (StopRecordingOfConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return StopRecordingOfConference202JSONResponse{body, StopRecordingOfConference202ResponseHeaders{again}}, err
}

// PauseRecordingOfConference implements StrictServerInterface.
func (h *handlers) PauseRecordingOfConference(
	ctx context.Context, r PauseRecordingOfConferenceRequestObject,
) (PauseRecordingOfConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return PauseRecordingOfConference202JSONResponse{body, PauseRecordingOfConference202ResponseHeaders{again}}, err
}

// ResumeRecordingOfConference implements StrictServerInterface.
func (h *handlers) ResumeRecordingOfConference(
	ctx context.Context, r ResumeRecordingOfConferenceRequestObject,
) (ResumeRecordingOfConferenceResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, "", given(r.Body))
	return ResumeRecordingOfConference202JSONResponse{body, ResumeRecordingOfConference202ResponseHeaders{again}}, err
}

// MuteParticipant implements StrictServerInterface.
func (h *handlers) MuteParticipant(
	ctx context.Context, r MuteParticipantRequestObject,
) (MuteParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return MuteParticipant202JSONResponse{body, MuteParticipant202ResponseHeaders{again}}, err
}

// UnmuteParticipant implements StrictServerInterface.
func (h *handlers) UnmuteParticipant(
	ctx context.Context, r UnmuteParticipantRequestObject,
) (UnmuteParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return UnmuteParticipant202JSONResponse{body, UnmuteParticipant202ResponseHeaders{again}}, err
}

// DeafenParticipant implements StrictServerInterface.
func (h *handlers) DeafenParticipant(
	ctx context.Context, r DeafenParticipantRequestObject,
) (DeafenParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return DeafenParticipant202JSONResponse{body, DeafenParticipant202ResponseHeaders{again}}, err
}

// UndeafenParticipant implements StrictServerInterface.
func (h *handlers) UndeafenParticipant(
	ctx context.Context, r UndeafenParticipantRequestObject,
) (UndeafenParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return UndeafenParticipant202JSONResponse{body, UndeafenParticipant202ResponseHeaders{again}}, err
}

// HoldParticipant implements StrictServerInterface.
func (h *handlers) HoldParticipant(
	ctx context.Context, r HoldParticipantRequestObject,
) (HoldParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return HoldParticipant202JSONResponse{body, HoldParticipant202ResponseHeaders{again}}, err
}

// UnholdParticipant implements StrictServerInterface.
func (h *handlers) UnholdParticipant(
	ctx context.Context, r UnholdParticipantRequestObject,
) (UnholdParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return UnholdParticipant202JSONResponse{body, UnholdParticipant202ResponseHeaders{again}}, err
}

// KickParticipant implements StrictServerInterface.
func (h *handlers) KickParticipant(
	ctx context.Context, r KickParticipantRequestObject,
) (KickParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return KickParticipant202JSONResponse{body, KickParticipant202ResponseHeaders{again}}, err
}

// SetParticipant implements StrictServerInterface.
func (h *handlers) SetParticipant(
	ctx context.Context, r SetParticipantRequestObject,
) (SetParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return SetParticipant202JSONResponse{body, SetParticipant202ResponseHeaders{again}}, err
}

// PlayToParticipant implements StrictServerInterface.
func (h *handlers) PlayToParticipant(
	ctx context.Context, r PlayToParticipantRequestObject,
) (PlayToParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return PlayToParticipant202JSONResponse{body, PlayToParticipant202ResponseHeaders{again}}, err
}

// StopPlaybackToParticipant implements StrictServerInterface.
func (h *handlers) StopPlaybackToParticipant(
	ctx context.Context, r StopPlaybackToParticipantRequestObject,
) (StopPlaybackToParticipantResponseObject, error) {
	body, again, err := h.direct(ctx, r.ConferenceID, r.CallID, given(r.Body))
	return StopPlaybackToParticipant202JSONResponse{body, StopPlaybackToParticipant202ResponseHeaders{again}}, err
}
