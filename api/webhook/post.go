package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/session"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 10

// outcome is what came of one try.
type outcome struct {
	at      time.Time
	latency time.Duration
	status  int         // 0: there was no answer
	problem egress.Kind // why the event was not taken; "" if it was
	body    []byte
	cut     egress.Kind // why body is not whole; "" if it is
	after   time.Duration
}

func (o outcome) gone() bool { return o.status == http.StatusGone }

// attempt is the outcome as deliveries show it.
func (o outcome) attempt(fallback string) Attempt {
	problem := o.problem
	if problem == "" {
		problem = o.cut
	}
	return Attempt{
		At: o.at.UTC(), URL: fallback, Status: o.status, LatencyMS: o.latency.Milliseconds(),
		Error: string(problem), Response: excerpt(o.body),
	}
}

// post sends an event once. gap says that events of the call that came before are still to be sent.
func (s *Service) post(
	ctx context.Context, rawURL, secrets string, e *engine.Event, timeout time.Duration, gap bool,
) (o outcome) {
	o.at = time.Now()
	defer func() { o.latency = time.Since(o.at) }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(e)
	if err != nil { // its Data is no JSON
		s.o.Logger.Error("an event cannot be sent", "event", e.ID, "error", err)
		o.problem = egress.KindURL
		return o
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, bytes.NewReader(body))
	if err != nil {
		o.problem = egress.KindURL
		return o
	}
	req.Header.Set("Content-Type", "application/json")
	sign(req.Header, secrets, e.ID, o.at, body)
	if gap {
		req.Header.Set("webhook-gap", "true")
	}
	res, err := s.o.Egress.Do(req)
	if err != nil {
		o.problem = egress.KindOf(err)
		return o
	}
	defer func() { _ = res.Body.Close() }()
	o.status = res.StatusCode
	o.body, err = egress.Read(res.Body, maxAnswer)
	o.cut = egress.KindOf(err)
	switch res.StatusCode / 100 {
	case 2:
	case 3:
		o.problem = egress.KindRedirect
	default:
		o.problem = egress.KindStatus
		o.after = retryAfter(res, o.at)
	}
	return o
}

// load reads the next events of a lane from the store. through is the sequence up to which it has read.
func (s *Service) load(ctx context.Context, t *task) (items []*item, through uint64, err error) {
	limit := min(s.o.MaxQueued, 1000)
	events, err := s.o.Store.CallEvents(ctx, t.dest.endpoint.Project, t.call, t.after, limit)
	if err != nil {
		return nil, t.after, err
	}
	through = t.after
	for i := range events {
		e := &events[i].Event
		if e.Sequence > t.last { // the dispatcher has not come to it yet
			return items, through, nil
		}
		through = e.Sequence
		if t.dest.wants(e) {
			items = append(items, &item{event: *e})
		}
	}
	if len(events) < limit {
		through = max(through, t.last)
	}
	return items, through, nil
}

// delivery finds the delivery of a task's event, or begins one.
func (s *Service) delivery(ctx context.Context, t *task) *Delivery {
	if t.delivery != nil && t.delivery.EventID == t.item.event.ID {
		return t.delivery
	}
	if t.deliveryID != "" {
		d := new(Delivery)
		it, err := s.o.Store.Get(ctx, session.KindDelivery, t.dest.endpoint.Project, t.deliveryID)
		if err == nil && json.Unmarshal(it.Value, d) == nil && d.EventID == t.item.event.ID {
			return d
		}
	}
	rawURL := t.dest.url
	if rawURL == "" {
		rawURL = t.dest.fallback
	}
	return newDelivery(s.o.NewID("whd"), &t.item.event, t.dest.endpoint, rawURL, time.Now().UTC())
}

// work carries out a task. It runs in a goroutine of its own, which ends with the last try's time-out at the latest.
func (s *Service) work(ctx context.Context, t task) result {
	r := result{task: t}
	if t.item == nil {
		r.loaded, r.through, r.err = s.load(ctx, &t)
		if r.err != nil || len(r.loaded) == 0 {
			return r
		}
		t.item = r.loaded[0]
		r.item = t.item
	}
	d := s.delivery(ctx, &t)
	if time.Since(t.item.event.Timestamp) > 4*s.o.AskTimeout {
		t.item.question.answer(nil, engine.Errorf(engine.CodeTimeout, "too many calls wait for the application"))
	}
	var o outcome
	if t.item.question.open() {
		o, r.tries = s.ask(ctx, &t, d)
	} else {
		o, r.tries = s.post(ctx, t.dest.url, t.dest.secrets, &t.item.event, s.o.Timeout, t.gap), 1
		d.add(o.attempt(""))
	}
	if errors.Is(ctx.Err(), context.Canceled) && o.problem != "" { // by the end of Run: not the endpoint's fault
		r.state, r.tries, r.next = StatePending, 0, time.Now()
		return r
	}
	r.state, r.next = s.verdict(&t, o, r.tries)
	if o.gone() {
		if err := s.disable(ctx, t.dest.endpoint, t.item.event.ID); err != nil {
			s.o.Logger.Error("a webhook that is gone cannot be disabled", "error", err)
		}
	}
	if t.again && r.state != StateDelivered {
		r.state = d.State // as before, for better or worse
		d.UpdatedAt = time.Now().UTC()
	} else {
		d.settle(r.state, r.next, time.Now().UTC())
	}
	s.ledger.put(d)
	r.delivery = d
	return r
}

// verdict is what becomes of the event after a try.
func (s *Service) verdict(t *task, o outcome, tries int) (state State, next time.Time) {
	now := time.Now()
	switch {
	case o.problem == "":
		return StateDelivered, next
	case o.gone(), t.dest.url == "":
		return StateDropped, next
	case now.Sub(t.item.event.Timestamp) > s.o.GiveUp:
		return StateFailed, next
	}
	return StatePending, now.Add(max(jittered(pause(t.failures+tries)), o.after))
}
