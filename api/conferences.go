package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ListConferences implements StrictServerInterface.
func (h *handlers) ListConferences(
	ctx context.Context, r ListConferencesRequestObject,
) (ListConferencesResponseObject, error) {
	filter := session.ConferenceFilter{State: or(r.Params.State, ""), Name: or(r.Params.Name, "")}
	list, next, err := h.Store.Conferences(ctx, project(ctx), filter, page(r.Params.Limit, r.Params.After))
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []Conference{}
	}
	for i := range list {
		list[i].Participants = some(list[i].Participants)
	}
	return ListConferences200JSONResponse{Data: list, HasMore: next != "", NextCursor: optional(next)}, nil
}

// some is list, empty instead of nil.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// CreateConference implements StrictServerInterface.
func (h *handlers) CreateConference(
	ctx context.Context, r CreateConferenceRequestObject,
) (CreateConferenceResponseObject, error) {
	cmd := *r.Body
	cmd.ProjectID = project(ctx)
	if err := h.checkApplication(ctx, cmd.ApplicationID); err != nil {
		return nil, err
	}
	reply, err := h.do(ctx, &cmd)
	if err != nil {
		return nil, err
	}
	return CreateConference201JSONResponse{
		Body: *reply.Conference,
		Headers: CreateConference201ResponseHeaders{
			Location: optional("/v1/conferences/" + reply.Conference.ID), IdempotentReplayed: replayed(reply.Replayed),
		},
	}, nil
}

// conference is one as it stands: the engine knows those that run, the store the others.
func (h *handlers) conference(ctx context.Context, which string) (Conference, error) {
	reply, err := h.do(ctx, &engine.InspectConference{ConferenceID: which, ProjectID: project(ctx)})
	if err == nil && reply.Conference != nil {
		return *reply.Conference, nil
	}
	if code := engine.ErrorCode(err); code != engine.CodeConferenceNotFound && code != engine.CodeConferenceEnded {
		return Conference{}, err
	}
	c, err := h.Store.Conference(ctx, project(ctx), which)
	if errors.Is(err, session.ErrNotFound) {
		return c, engine.Errorf(engine.CodeConferenceNotFound, "there is no conference %q", which)
	}
	c.Participants = some(c.Participants)
	return c, err
}

// GetConference implements StrictServerInterface.
func (h *handlers) GetConference(ctx context.Context, r GetConferenceRequestObject) (GetConferenceResponseObject, error) {
	c, err := h.conference(ctx, r.ConferenceID)
	return GetConference200JSONResponse(c), err
}

// ListConferenceEvents implements StrictServerInterface.
func (h *handlers) ListConferenceEvents(
	ctx context.Context, r ListConferenceEventsRequestObject,
) (ListConferenceEventsResponseObject, error) {
	c, err := h.conference(ctx, r.ConferenceID)
	if err != nil {
		return nil, err
	}
	after, limit := uint64(max(0, or(r.Params.After, 0))), or(r.Params.Limit, defaultLimit)
	ask := min(limit+1, maxLimit)
	wait := time.Duration(or(r.Params.WaitS, 0)) * time.Second
	events, err := h.waitCall(ctx, c.ID, after, ask, wait)
	if err != nil {
		return nil, err
	}
	return ListConferenceEvents200JSONResponse(pageOfEvents(events, after, limit)), nil
}

// ListParticipants implements StrictServerInterface.
func (h *handlers) ListParticipants(
	ctx context.Context, r ListParticipantsRequestObject,
) (ListParticipantsResponseObject, error) {
	c, err := h.conference(ctx, r.ConferenceID)
	if err != nil {
		return nil, err
	}
	return ListParticipants200JSONResponse{Data: some(c.Participants)}, nil
}

// GetParticipant implements StrictServerInterface.
func (h *handlers) GetParticipant(ctx context.Context, r GetParticipantRequestObject) (GetParticipantResponseObject, error) {
	c, err := h.conference(ctx, r.ConferenceID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.Participants, func(p Participant) bool { return p.CallID == r.CallID })
	if i < 0 {
		return nil, engine.Errorf(engine.CodeParticipantNotFound, "the call %q has no seat in the conference %s", r.CallID, c.ID)
	}
	return GetParticipant200JSONResponse(c.Participants[i]), nil
}

// AddParticipant implements StrictServerInterface.
func (h *handlers) AddParticipant(ctx context.Context, r AddParticipantRequestObject) (AddParticipantResponseObject, error) {
	b := r.Body
	join := &engine.Join{
		Conference: r.ConferenceID, Role: or(b.Role, ""), Coach: or(b.Coach, nil), Muted: or(b.Muted, false),
		Deafened: or(b.Deafened, false), VolumeDB: or(b.VolumeDB, 0),
	}
	join.CommandID = or(b.CommandID, "")
	body, again, err := h.act(ctx, b.CallID, join)
	return AddParticipant202JSONResponse{body, AddParticipant202ResponseHeaders{again}}, err
}

// RemoveParticipant implements StrictServerInterface.
func (h *handlers) RemoveParticipant(
	ctx context.Context, r RemoveParticipantRequestObject,
) (RemoveParticipantResponseObject, error) {
	body, _, err := h.direct(ctx, r.ConferenceID, r.CallID, new(engine.KickParticipant))
	return RemoveParticipant202JSONResponse(body), err
}
