package api

import (
	"context"
	"fmt"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// ListTrunks implements StrictServerInterface.
func (h *handlers) ListTrunks(ctx context.Context, r ListTrunksRequestObject) (ListTrunksResponseObject, error) {
	trunks, next, err := list[Trunk](ctx, h, session.KindTrunk, page(r.Params.Limit, r.Params.After), nil)
	if err != nil {
		return nil, err
	}
	for i := range trunks {
		trunks[i] = h.shown(trunks[i])
	}
	return ListTrunks200JSONResponse{Data: trunks, HasMore: next != "", NextCursor: optional(next)}, nil
}

// CreateTrunk implements StrictServerInterface.
func (h *handlers) CreateTrunk(ctx context.Context, r CreateTrunkRequestObject) (CreateTrunkResponseObject, error) {
	t := *r.Body
	t.ID, t.ProjectID, t.CreatedAt = id.New("trk"), project(ctx), now()
	t.UpdatedAt = t.CreatedAt
	if err := h.storeTrunk(ctx, h.Store.Create, t); err != nil {
		return nil, err
	}
	return CreateTrunk201JSONResponse{
		Body: h.shown(t), Headers: CreateTrunk201ResponseHeaders{Location: optional("/v1/trunks/" + t.ID)},
	}, nil
}

// GetTrunk implements StrictServerInterface.
func (h *handlers) GetTrunk(ctx context.Context, r GetTrunkRequestObject) (GetTrunkResponseObject, error) {
	t, err := load[Trunk](ctx, h, session.KindTrunk, r.TrunkID)
	return GetTrunk200JSONResponse(h.shown(t)), err
}

// UpdateTrunk implements StrictServerInterface.
func (h *handlers) UpdateTrunk(ctx context.Context, r UpdateTrunkRequestObject) (UpdateTrunkResponseObject, error) {
	h.config.Lock()
	defer h.config.Unlock()
	old, err := load[Trunk](ctx, h, session.KindTrunk, r.TrunkID)
	if err != nil {
		return nil, err
	}
	t, err := merge(old, *r.Body)
	if err != nil {
		return nil, err
	}
	if t.Auth != nil && t.Auth.Password == "" && old.Auth != nil {
		t.Auth.Password = old.Auth.Password
	}
	t.UpdatedAt = now()
	if err := h.storeTrunk(ctx, h.Store.Put, t); err != nil {
		return nil, err
	}
	return UpdateTrunk200JSONResponse(h.shown(t)), nil
}

// DeleteTrunk implements StrictServerInterface.
func (h *handlers) DeleteTrunk(ctx context.Context, r DeleteTrunkRequestObject) (DeleteTrunkResponseObject, error) {
	if _, err := load[Trunk](ctx, h, session.KindTrunk, r.TrunkID); err != nil {
		return nil, err
	}
	if err := h.Store.Delete(ctx, session.KindTrunk, project(ctx), r.TrunkID); err != nil {
		return nil, err
	}
	return DeleteTrunk204Response{}, nil
}

// shown is a trunk without its password, and as it is now.
func (h *handlers) shown(t Trunk) Trunk {
	if h.TrunkStatus != nil {
		t.Status = h.TrunkStatus(t)
	}
	if t.Auth != nil {
		t.Auth = &engine.TrunkAuth{Username: t.Auth.Username}
	}
	return t
}

// storeTrunk writes a trunk that can be dialled through.
func (h *handlers) storeTrunk(ctx context.Context, write func(context.Context, ...session.Item) error, t Trunk) error {
	for i, target := range t.Targets {
		if h.CheckTarget == nil {
			break
		}
		if err := h.CheckTarget(target.URI); err != nil {
			return engine.Invalid(fmt.Sprintf("/targets/%d/uri", i), "%v", err)
		}
	}
	for i, s := range t.AllowedIPs {
		if _, err := engine.ParseNetwork(s); err != nil {
			return engine.Invalid(fmt.Sprintf("/allowed_ips/%d", i), "is no address: write 192.0.2.1 or 192.0.2.0/24")
		}
	}
	if t.Auth != nil && t.Auth.Password == "" {
		return engine.Invalid("/auth/password", "is required")
	}
	if err := engine.CheckCodecs(t.Codecs); err != nil {
		return err
	}
	if t.Register && t.Auth == nil {
		return engine.Invalid("/auth", "is required to register")
	}
	t.Status = nil
	return h.store(ctx, write, session.Item{Kind: session.KindTrunk, ID: t.ID}, t)
}
