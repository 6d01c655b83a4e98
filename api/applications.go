package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// ListApplications implements StrictServerInterface.
func (h *handlers) ListApplications(
	ctx context.Context, r ListApplicationsRequestObject,
) (ListApplicationsResponseObject, error) {
	apps, next, err := list[Application](ctx, h, session.KindApplication, page(r.Params.Limit, r.Params.After), nil)
	if err != nil {
		return nil, err
	}
	return ListApplications200JSONResponse{Data: apps, HasMore: next != "", NextCursor: optional(next)}, nil
}

// CreateApplication implements StrictServerInterface.
func (h *handlers) CreateApplication(
	ctx context.Context, r CreateApplicationRequestObject,
) (CreateApplicationResponseObject, error) {
	app := *r.Body
	app.ID, app.ProjectID, app.CreatedAt = id.New("app"), project(ctx), now()
	app.UpdatedAt = app.CreatedAt
	if err := h.completeApplication(&app); err != nil {
		return nil, err
	}
	if err := h.store(ctx, h.Store.Create, session.Item{Kind: session.KindApplication, ID: app.ID}, app); err != nil {
		return nil, err
	}
	return CreateApplication201JSONResponse{
		Body: app, Headers: CreateApplication201ResponseHeaders{Location: optional("/v1/applications/" + app.ID)},
	}, nil
}

// GetApplication implements StrictServerInterface.
func (h *handlers) GetApplication(ctx context.Context, r GetApplicationRequestObject) (GetApplicationResponseObject, error) {
	app, err := load[Application](ctx, h, session.KindApplication, r.ApplicationID)
	return GetApplication200JSONResponse(app), err
}

// UpdateApplication implements StrictServerInterface.
func (h *handlers) UpdateApplication(
	ctx context.Context, r UpdateApplicationRequestObject,
) (UpdateApplicationResponseObject, error) {
	h.config.Lock()
	defer h.config.Unlock()
	old, err := load[Application](ctx, h, session.KindApplication, r.ApplicationID)
	if err != nil {
		return nil, err
	}
	app, err := merge(old, *r.Body)
	if err != nil {
		return nil, err
	}
	app.UpdatedAt = now()
	if namesWebhook(*r.Body) {
		app.WebhookDisabledAt = ""
	}
	if err := h.completeApplication(&app); err != nil {
		return nil, err
	}
	if err := h.store(ctx, h.Store.Put, session.Item{Kind: session.KindApplication, ID: app.ID}, app); err != nil {
		return nil, err
	}
	return UpdateApplication200JSONResponse(app), nil
}

// DeleteApplication implements StrictServerInterface.
func (h *handlers) DeleteApplication(
	ctx context.Context, r DeleteApplicationRequestObject,
) (DeleteApplicationResponseObject, error) {
	h.config.Lock()
	defer h.config.Unlock()
	if _, err := load[Application](ctx, h, session.KindApplication, r.ApplicationID); err != nil {
		return nil, err
	}
	numbers, err := h.numbersOf(ctx, r.ApplicationID)
	if err != nil {
		return nil, err
	}
	if len(numbers) > 0 {
		return nil, engine.Errorf(engine.CodeConflict, "numbers still point to this application: %s", strings.Join(numbers, ", "))
	}
	if err := h.Store.Delete(ctx, session.KindApplication, project(ctx), r.ApplicationID); err != nil {
		return nil, err
	}
	return DeleteApplication204Response{}, nil
}

// completeApplication checks what the contract cannot and makes a secret if there is none.
func (h *handlers) completeApplication(app *Application) error {
	if err := h.checkURL("/webhook_url", app.WebhookURL, "http", "https", "ws", "wss"); err != nil {
		return err
	}
	if err := h.checkURL("/fallback_url", app.FallbackURL, "http", "https"); err != nil {
		return err
	}
	if err := engine.ValidateInstructions(app.Instructions); err != nil {
		return err
	}
	if err := engine.ValidateInstructions(app.FallbackInstructions); err != nil {
		return inFallback(err)
	}
	if app.WebhookSecret == "" {
		app.WebhookSecret = newWebhookSecret()
		return nil
	}
	for secret := range strings.SplitSeq(app.WebhookSecret, " ") {
		if _, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil {
			return engine.Invalid("/webhook_secret", "is not whsec_ and base64")
		}
	}
	return nil
}

// inFallback moves the pointer of an error from instructions to fallback_instructions.
func inFallback(err error) error {
	e, ok := errors.AsType[*engine.Error](err)
	if !ok {
		return err
	}
	rest, ok := strings.CutPrefix(e.Pointer, "/instructions")
	if !ok {
		return e
	}
	return &engine.Error{Code: e.Code, Message: e.Message, Pointer: "/fallback_instructions" + rest}
}

// newWebhookSecret makes 24 random bytes in the form of Standard Webhooks.
func newWebhookSecret() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "whsec_" + base64.StdEncoding.EncodeToString(b[:])
}
