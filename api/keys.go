package api

import (
	"context"

	"github.com/tipring/tipring/engine"
)

// ListKeys implements StrictServerInterface.
func (h *handlers) ListKeys(ctx context.Context, r ListKeysRequestObject) (ListKeysResponseObject, error) {
	keys, next, err := h.Keys.List(ctx, project(ctx), page(r.Params.Limit, r.Params.After))
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = []Key{}
	}
	return ListKeys200JSONResponse{Data: keys, HasMore: next != "", NextCursor: optional(next)}, nil
}

// CreateKey implements StrictServerInterface.
func (h *handlers) CreateKey(ctx context.Context, r CreateKeyRequestObject) (CreateKeyResponseObject, error) {
	key, secret, err := h.Keys.Create(ctx, project(ctx), r.Body.Name, r.Body.Scopes)
	if err != nil {
		return nil, err
	}
	return CreateKey201JSONResponse{
		Body:    CreatedKey{Key: key, Secret: secret},
		Headers: CreateKey201ResponseHeaders{Location: optional("/v1/keys/" + key.ID)},
	}, nil
}

// GetKey implements StrictServerInterface.
func (h *handlers) GetKey(ctx context.Context, r GetKeyRequestObject) (GetKeyResponseObject, error) {
	key, err := h.Keys.Get(ctx, project(ctx), r.KeyID)
	return GetKey200JSONResponse(key), notFound(err, "key", r.KeyID)
}

// DeleteKey implements StrictServerInterface.
func (h *handlers) DeleteKey(ctx context.Context, r DeleteKeyRequestObject) (DeleteKeyResponseObject, error) {
	if r.KeyID == requestOf(ctx).key.ID {
		return nil, engine.Errorf(engine.CodeConflict, "a key cannot revoke itself: use another one")
	}
	if err := h.Keys.Revoke(ctx, project(ctx), r.KeyID); err != nil {
		return nil, notFound(err, "key", r.KeyID)
	}
	return DeleteKey204Response{}, nil
}

// Whoami implements StrictServerInterface.
func (h *handlers) Whoami(ctx context.Context, _ WhoamiRequestObject) (WhoamiResponseObject, error) {
	key := requestOf(ctx).key
	return Whoami200JSONResponse{ProjectID: key.ProjectID, Key: key, Version: h.Version}, nil
}
