package api

import (
	"context"

	"github.com/tipring/tipring/engine"
)

// act runs an action on a call.
func (h *handlers) act(ctx context.Context, callID string, action engine.Action) (Accepted, *string, error) {
	head := action.Head()
	head.CallID, head.ProjectID = callID, project(ctx)
	reply, err := h.do(ctx, action)
	if err != nil {
		return Accepted{}, nil, err
	}
	accepted := Accepted{CommandID: reply.CommandID, CallID: callID, Status: AcceptedStatusAccepted, Call: reply.Call}
	return accepted, replayed(reply.Replayed), nil
}

// given is the body of a request, or the empty one.
func given[T any](body *T) *T {
	if body == nil {
		return new(T)
	}
	return body
}

// The actions. Each is the command that its body is.

// AnswerCall implements StrictServerInterface.
func (h *handlers) AnswerCall(ctx context.Context, r AnswerCallRequestObject) (AnswerCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return AnswerCall202JSONResponse{body, AnswerCall202ResponseHeaders{again}}, err
}

// RingCall implements StrictServerInterface.
func (h *handlers) RingCall(ctx context.Context, r RingCallRequestObject) (RingCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return RingCall202JSONResponse{body, RingCall202ResponseHeaders{again}}, err
}

// RejectCall implements StrictServerInterface.
func (h *handlers) RejectCall(ctx context.Context, r RejectCallRequestObject) (RejectCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return RejectCall202JSONResponse{body, RejectCall202ResponseHeaders{again}}, err
}

// HangupCall implements StrictServerInterface.
func (h *handlers) HangupCall(ctx context.Context, r HangupCallRequestObject) (HangupCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return HangupCall202JSONResponse{body, HangupCall202ResponseHeaders{again}}, err
}

// PlayCall implements StrictServerInterface.
func (h *handlers) PlayCall(ctx context.Context, r PlayCallRequestObject) (PlayCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return PlayCall202JSONResponse{body, PlayCall202ResponseHeaders{again}}, err
}

// GatherCall implements StrictServerInterface.
func (h *handlers) GatherCall(ctx context.Context, r GatherCallRequestObject) (GatherCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return GatherCall202JSONResponse{body, GatherCall202ResponseHeaders{again}}, err
}

// BridgeCall implements StrictServerInterface.
func (h *handlers) BridgeCall(ctx context.Context, r BridgeCallRequestObject) (BridgeCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return BridgeCall202JSONResponse{body, BridgeCall202ResponseHeaders{again}}, err
}

// UnbridgeCall implements StrictServerInterface.
func (h *handlers) UnbridgeCall(ctx context.Context, r UnbridgeCallRequestObject) (UnbridgeCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return UnbridgeCall202JSONResponse{body, UnbridgeCall202ResponseHeaders{again}}, err
}

// HoldCall implements StrictServerInterface.
func (h *handlers) HoldCall(ctx context.Context, r HoldCallRequestObject) (HoldCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return HoldCall202JSONResponse{body, HoldCall202ResponseHeaders{again}}, err
}

// UnholdCall implements StrictServerInterface.
func (h *handlers) UnholdCall(ctx context.Context, r UnholdCallRequestObject) (UnholdCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return UnholdCall202JSONResponse{body, UnholdCall202ResponseHeaders{again}}, err
}

// MuteCall implements StrictServerInterface.
func (h *handlers) MuteCall(ctx context.Context, r MuteCallRequestObject) (MuteCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return MuteCall202JSONResponse{body, MuteCall202ResponseHeaders{again}}, err
}

// UnmuteCall implements StrictServerInterface.
func (h *handlers) UnmuteCall(ctx context.Context, r UnmuteCallRequestObject) (UnmuteCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return UnmuteCall202JSONResponse{body, UnmuteCall202ResponseHeaders{again}}, err
}

// SendDTMFToCall implements StrictServerInterface.
func (h *handlers) SendDTMFToCall(
	ctx context.Context, r SendDTMFToCallRequestObject,
) (SendDTMFToCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return SendDTMFToCall202JSONResponse{body, SendDTMFToCall202ResponseHeaders{again}}, err
}

// EchoCall implements StrictServerInterface.
func (h *handlers) EchoCall(ctx context.Context, r EchoCallRequestObject) (EchoCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return EchoCall202JSONResponse{body, EchoCall202ResponseHeaders{again}}, err
}

// WaitCall implements StrictServerInterface.
func (h *handlers) WaitCall(ctx context.Context, r WaitCallRequestObject) (WaitCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return WaitCall202JSONResponse{body, WaitCall202ResponseHeaders{again}}, err
}

// StopCall implements StrictServerInterface.
func (h *handlers) StopCall(ctx context.Context, r StopCallRequestObject) (StopCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return StopCall202JSONResponse{body, StopCall202ResponseHeaders{again}}, err
}

// RunInstructions implements StrictServerInterface.
func (h *handlers) RunInstructions(
	ctx context.Context, r RunInstructionsRequestObject,
) (RunInstructionsResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return RunInstructions202JSONResponse{body, RunInstructions202ResponseHeaders{again}}, err
}

// PausePlaybackOfCall implements StrictServerInterface.
func (h *handlers) PausePlaybackOfCall(
	ctx context.Context, r PausePlaybackOfCallRequestObject,
) (PausePlaybackOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return PausePlaybackOfCall202JSONResponse{body, PausePlaybackOfCall202ResponseHeaders{again}}, err
}

// ResumePlaybackOfCall implements StrictServerInterface.
func (h *handlers) ResumePlaybackOfCall(
	ctx context.Context, r ResumePlaybackOfCallRequestObject,
) (ResumePlaybackOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return ResumePlaybackOfCall202JSONResponse{body, ResumePlaybackOfCall202ResponseHeaders{again}}, err
}

// SeekPlaybackOfCall implements StrictServerInterface.
func (h *handlers) SeekPlaybackOfCall(
	ctx context.Context, r SeekPlaybackOfCallRequestObject,
) (SeekPlaybackOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return SeekPlaybackOfCall202JSONResponse{body, SeekPlaybackOfCall202ResponseHeaders{again}}, err
}

// JoinCall implements StrictServerInterface.
func (h *handlers) JoinCall(ctx context.Context, r JoinCallRequestObject) (JoinCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return JoinCall202JSONResponse{body, JoinCall202ResponseHeaders{again}}, err
}

// LeaveCall implements StrictServerInterface.
func (h *handlers) LeaveCall(ctx context.Context, r LeaveCallRequestObject) (LeaveCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return LeaveCall202JSONResponse{body, LeaveCall202ResponseHeaders{again}}, err
}

// StartRecordingOfCall implements StrictServerInterface.
func (h *handlers) StartRecordingOfCall(
	ctx context.Context, r StartRecordingOfCallRequestObject,
) (StartRecordingOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return StartRecordingOfCall202JSONResponse{body, StartRecordingOfCall202ResponseHeaders{again}}, err
}

// StopRecordingOfCall implements StrictServerInterface.
func (h *handlers) StopRecordingOfCall(
	ctx context.Context, r StopRecordingOfCallRequestObject,
) (StopRecordingOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return StopRecordingOfCall202JSONResponse{body, StopRecordingOfCall202ResponseHeaders{again}}, err
}

// PauseRecordingOfCall implements StrictServerInterface.
func (h *handlers) PauseRecordingOfCall(
	ctx context.Context, r PauseRecordingOfCallRequestObject,
) (PauseRecordingOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return PauseRecordingOfCall202JSONResponse{body, PauseRecordingOfCall202ResponseHeaders{again}}, err
}

// ResumeRecordingOfCall implements StrictServerInterface.
func (h *handlers) ResumeRecordingOfCall(
	ctx context.Context, r ResumeRecordingOfCallRequestObject,
) (ResumeRecordingOfCallResponseObject, error) {
	body, again, err := h.act(ctx, r.CallID, given(r.Body))
	return ResumeRecordingOfCall202JSONResponse{body, ResumeRecordingOfCall202ResponseHeaders{again}}, err
}
