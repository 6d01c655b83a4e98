package api

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// ListNumbers implements StrictServerInterface.
func (h *handlers) ListNumbers(ctx context.Context, r ListNumbersRequestObject) (ListNumbersResponseObject, error) {
	var match func(Number) bool
	if app := r.Params.ApplicationID; app != nil {
		match = func(n Number) bool { return n.ApplicationID == *app }
	}
	numbers, next, err := list(ctx, h, session.KindNumber, page(r.Params.Limit, r.Params.After), match)
	if err != nil {
		return nil, err
	}
	return ListNumbers200JSONResponse{Data: numbers, HasMore: next != "", NextCursor: optional(next)}, nil
}

// CreateNumber implements StrictServerInterface.
func (h *handlers) CreateNumber(ctx context.Context, r CreateNumberRequestObject) (CreateNumberResponseObject, error) {
	n := *r.Body
	n.ID, n.ProjectID, n.CreatedAt = id.New("num"), project(ctx), now()
	n.UpdatedAt = n.CreatedAt
	h.config.Lock()
	defer h.config.Unlock()
	if err := h.storeNumber(ctx, h.Store.Create, n); err != nil {
		return nil, err
	}
	return CreateNumber201JSONResponse{
		Body: n, Headers: CreateNumber201ResponseHeaders{Location: optional("/v1/numbers/" + n.ID)},
	}, nil
}

// GetNumber implements StrictServerInterface.
func (h *handlers) GetNumber(ctx context.Context, r GetNumberRequestObject) (GetNumberResponseObject, error) {
	n, err := load[Number](ctx, h, session.KindNumber, r.NumberID)
	return GetNumber200JSONResponse(n), err
}

// UpdateNumber implements StrictServerInterface.
func (h *handlers) UpdateNumber(ctx context.Context, r UpdateNumberRequestObject) (UpdateNumberResponseObject, error) {
	h.config.Lock()
	defer h.config.Unlock()
	old, err := load[Number](ctx, h, session.KindNumber, r.NumberID)
	if err != nil {
		return nil, err
	}
	n, err := merge(old, *r.Body)
	if err != nil {
		return nil, err
	}
	n.UpdatedAt = now()
	if err := h.storeNumber(ctx, h.Store.Put, n); err != nil {
		return nil, err
	}
	return UpdateNumber200JSONResponse(n), nil
}

// DeleteNumber implements StrictServerInterface.
func (h *handlers) DeleteNumber(ctx context.Context, r DeleteNumberRequestObject) (DeleteNumberResponseObject, error) {
	if _, err := load[Number](ctx, h, session.KindNumber, r.NumberID); err != nil {
		return nil, err
	}
	if err := h.Store.Delete(ctx, session.KindNumber, project(ctx), r.NumberID); err != nil {
		return nil, err
	}
	return DeleteNumber204Response{}, nil
}

// storeNumber writes a number whose application is there. config is held.
func (h *handlers) storeNumber(ctx context.Context, write func(context.Context, ...session.Item) error, n Number) error {
	if err := h.checkApplication(ctx, n.ApplicationID); err != nil {
		return err
	}
	err := h.store(ctx, write, session.Item{Kind: session.KindNumber, ID: n.ID, Unique: n.Number}, n)
	if errors.Is(err, session.ErrExists) {
		return engine.Errorf(engine.CodeConflict, "the number %s is taken", n.Number)
	}
	return err
}

// numbersOf lists the numbers that point to an application, a hundred at most.
func (h *handlers) numbersOf(ctx context.Context, applicationID string) (numbers []string, err error) {
	p := session.Page{Limit: 1000}
	for {
		items, next, err := h.Store.List(ctx, session.KindNumber, project(ctx), p)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			n, err := decode[Number](item)
			if err != nil {
				return nil, err
			}
			if n.ApplicationID == applicationID {
				numbers = append(numbers, n.Number)
			}
			if len(numbers) == 100 {
				return numbers, nil
			}
		}
		if p.After = next; next == "" {
			return numbers, nil
		}
	}
}

// namesWebhook reports whether a patch sets webhook_url.
func namesWebhook(patch json.RawMessage) bool {
	var p struct {
		WebhookURL *string `json:"webhook_url"`
	}
	return json.Unmarshal(patch, &p) == nil && p.WebhookURL != nil
}
