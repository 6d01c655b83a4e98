package api

import (
	"context"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ListWebhookDeliveries implements StrictServerInterface.
func (h *handlers) ListWebhookDeliveries(
	ctx context.Context, r ListWebhookDeliveriesRequestObject,
) (ListWebhookDeliveriesResponseObject, error) {
	p := r.Params
	match := func(d WebhookDelivery) bool {
		return (p.CallID == nil || or(d.CallID, "") == *p.CallID) && (p.EventID == nil || d.EventID == *p.EventID) &&
			(p.ApplicationID == nil || or(d.ApplicationID, "") == *p.ApplicationID) && (p.State == nil || d.State == *p.State)
	}
	read := h.Store.List
	if p.CallID != nil { // those of a call are found without looking at others
		read = func(ctx context.Context, kind session.Kind, project string, at session.Page) ([]session.Item, string, error) {
			return h.Store.CallItems(ctx, kind, project, *p.CallID, at)
		}
	}
	deliveries, next, err := listFrom(ctx, read, session.KindDelivery, page(p.Limit, p.After), match)
	if err != nil {
		return nil, err
	}
	return ListWebhookDeliveries200JSONResponse{Data: deliveries, HasMore: next != "", NextCursor: optional(next)}, nil
}

// GetWebhookDelivery implements StrictServerInterface.
func (h *handlers) GetWebhookDelivery(
	ctx context.Context, r GetWebhookDeliveryRequestObject,
) (GetWebhookDeliveryResponseObject, error) {
	d, err := load[WebhookDelivery](ctx, h, session.KindDelivery, r.DeliveryID)
	return GetWebhookDelivery200JSONResponse(d), err
}

// RedeliverWebhook implements StrictServerInterface.
func (h *handlers) RedeliverWebhook(
	ctx context.Context, r RedeliverWebhookRequestObject,
) (RedeliverWebhookResponseObject, error) {
	if h.Redeliver == nil {
		return nil, engine.Errorf(problem.CodeUnavailable, "this node sends no webhooks")
	}
	if err := h.Redeliver(ctx, project(ctx), r.DeliveryID); err != nil {
		return nil, notFound(err, "delivery", r.DeliveryID)
	}
	return RedeliverWebhook202Response{}, nil
}
