package api

import (
	"context"
	"time"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/token"
)

// CreateToken implements StrictServerInterface.
func (h *handlers) CreateToken(ctx context.Context, r CreateTokenRequestObject) (CreateTokenResponseObject, error) {
	if h.Tokens == nil {
		return nil, engine.Errorf(problem.CodeUnavailable, "this node lets no browsers in: set webrtc_listen")
	}
	c := token.Claims{
		ID: id.New("tok"), Identity: r.Body.Identity, ProjectID: project(ctx), ApplicationID: or(r.Body.ApplicationID, ""),
		Incoming: or(r.Body.AllowIncoming, false), Outgoing: or(r.Body.AllowOutgoing, nil),
		ExpiresAt: time.Now().Add(time.Duration(or(r.Body.TTLS, int(token.DefaultTTL/time.Second))) * time.Second).Truncate(time.Second).UTC(),
	}
	if c.ApplicationID != "" {
		if _, err := load[Application](ctx, h, session.KindApplication, c.ApplicationID); err != nil {
			return nil, engine.Invalid("/application_id", "there is no application %q", c.ApplicationID)
		}
	}
	s, err := h.Tokens.Mint(c)
	if err != nil {
		return nil, err
	}
	return CreateToken201JSONResponse{Token: s, Identity: c.Identity, ExpiresAt: c.ExpiresAt}, nil
}
