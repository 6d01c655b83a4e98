package api

import (
	"context"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ListCalls implements StrictServerInterface.
func (h *handlers) ListCalls(ctx context.Context, r ListCallsRequestObject) (ListCallsResponseObject, error) {
	p := r.Params
	filter := session.CallFilter{
		State: or(p.State, ""), Direction: or(p.Direction, ""), From: or(p.From, ""), To: or(p.To, ""),
		ApplicationID: or(p.ApplicationID, ""), SessionID: or(p.SessionID, ""),
	}
	if p.CreatedAfter != nil {
		filter.CreatedAfter = *p.CreatedAfter
	}
	if p.CreatedBefore != nil {
		filter.CreatedBefore = *p.CreatedBefore
	}
	calls, next, err := h.Store.Calls(ctx, project(ctx), filter, page(p.Limit, p.After))
	if err != nil {
		return nil, err
	}
	if calls == nil {
		calls = []Call{}
	}
	return ListCalls200JSONResponse{Data: calls, HasMore: next != "", NextCursor: optional(next)}, nil
}

// CreateCall implements StrictServerInterface.
func (h *handlers) CreateCall(ctx context.Context, r CreateCallRequestObject) (CreateCallResponseObject, error) {
	cmd := *r.Body
	cmd.ProjectID = project(ctx)
	if err := engine.Validate(&cmd); err != nil {
		return nil, err
	}
	if err := h.checkURL("/webhook_url", cmd.WebhookURL, "http", "https", "ws", "wss"); err != nil {
		return nil, err
	}
	if err := h.checkApplication(ctx, cmd.ApplicationID); err != nil {
		return nil, err
	}
	reply, err := h.do(ctx, &cmd)
	if err != nil {
		return nil, err
	}
	return CreateCall201JSONResponse{
		Body: *reply.Call,
		Headers: CreateCall201ResponseHeaders{
			Location: optional("/v1/calls/" + reply.Call.ID), IdempotentReplayed: replayed(reply.Replayed),
		},
	}, nil
}

// GetCall implements StrictServerInterface. The engine knows the figures of a call that runs, the store those of others.
func (h *handlers) GetCall(ctx context.Context, r GetCallRequestObject) (GetCallResponseObject, error) {
	reply, err := h.do(ctx, &engine.Inspect{CallID: r.CallID, ProjectID: project(ctx)})
	if err == nil && reply.Call != nil {
		return GetCall200JSONResponse(*reply.Call), nil
	}
	if err != nil && engine.ErrorCode(err) != engine.CodeCallNotFound {
		return nil, err
	}
	call, err := h.storedCall(ctx, r.CallID)
	if err != nil {
		return nil, err
	}
	return GetCall200JSONResponse(call), nil
}

func (h *handlers) storedCall(ctx context.Context, id string) (Call, error) {
	record, err := h.Store.Call(ctx, project(ctx), id)
	if err != nil {
		if e := notFound(err, "call", id); engine.ErrorCode(e) == engine.CodeNotFound {
			return Call{}, engine.Errorf(engine.CodeCallNotFound, "there is no call %q", id)
		}
		return Call{}, err
	}
	return record.Info, nil
}

// checkURL refuses a URL that we shall not call; "" is none.
func (h *handlers) checkURL(pointer, rawURL string, schemes ...string) error {
	if rawURL == "" {
		return nil
	}
	if err := h.CheckURL(rawURL, schemes...); err != nil {
		return engine.Invalid(pointer, "%v", err)
	}
	return nil
}

// checkApplication refuses the id of an application that the asking project has not; "" is none.
func (h *handlers) checkApplication(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	if _, err := load[Application](ctx, h, session.KindApplication, id); err != nil {
		if engine.ErrorCode(err) == engine.CodeNotFound {
			return engine.Invalid("/application_id", "there is no application %q", id)
		}
		return err
	}
	return nil
}
