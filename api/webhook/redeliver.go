package webhook

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// redeliver sends an event once more, beside its lane.
func (d *dispatcher) redeliver(a redelivery) {
	dest := d.s.find(a.delivery.Endpoint)
	if dest.url == "" || dest.socket() {
		return // it was there when the customer asked
	}
	d.notes.add(dest.host(), task{dest: dest, item: &item{event: a.event}, delivery: a.delivery, again: true})
}

// redelivery is what Redeliver asks for.
type redelivery struct {
	delivery *Delivery
	event    engine.Event
}

// Redeliver sends the event of a delivery to its endpoint once more, soon; the try is added to the delivery. It fails
// with session.ErrNotFound if there is no such delivery, and with an *engine.Error if it cannot be repeated.
func (s *Service) Redeliver(ctx context.Context, project, id string) error {
	a, err := s.repeatable(ctx, project, id)
	if err != nil {
		return err
	}
	dest := s.find(a.delivery.Endpoint)
	switch {
	case dest.url == "":
		return engine.Errorf(engine.CodeInvalidState, "there is no webhook to send it to: it was removed, or disabled after 410 Gone")
	case dest.socket():
		return engine.Errorf(engine.CodeInvalidState, "the application has a WebSocket now: it reads again from a cursor")
	}
	select {
	case s.again <- a:
		return nil
	default:
		return engine.Errorf(problem.CodeRateLimited, "too many redeliveries wait already")
	}
}

// repeatable finds a delivery and its event.
func (s *Service) repeatable(ctx context.Context, project, id string) (a redelivery, err error) {
	it, err := s.o.Store.Get(ctx, session.KindDelivery, project, id)
	if err != nil {
		return a, fmt.Errorf("webhook: delivery %s: %w", id, err)
	}
	a.delivery = new(Delivery)
	if err := json.Unmarshal(it.Value, a.delivery); err != nil {
		return a, fmt.Errorf("webhook: delivery %s: %w", id, err)
	}
	if a.delivery.Event != nil {
		a.event = *a.delivery.Event
		return a, nil
	}
	seq := a.delivery.Sequence
	events, err := s.o.Store.CallEvents(ctx, project, a.delivery.CallID, max(seq, 1)-1, 1)
	if err != nil {
		return a, fmt.Errorf("webhook: delivery %s: %w", id, err)
	}
	if len(events) == 0 || events[0].ID != a.delivery.EventID {
		return a, engine.Errorf(engine.CodeNotFound, "the event %s was forgotten", a.delivery.EventID)
	}
	a.event = events[0].Event
	return a, nil
}
