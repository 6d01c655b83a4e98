package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
)

// question is what an event asks. It is answered once, by whoever comes first. It may be used from any goroutine; the
// nil question has been answered.
type question struct {
	reply    func(*engine.Instructions, error)
	answered atomic.Bool
}

func (q *question) open() bool { return q != nil && !q.answered.Load() }

// answer gives the answer; false if there is one already.
func (q *question) answer(ins *engine.Instructions, err error) bool {
	if q == nil || !q.answered.CompareAndSwap(false, true) {
		return false
	}
	q.reply(ins, err)
	return true
}

// errNobody is the answer when there is nobody to ask.
func errNobody() error {
	return engine.Errorf(problem.CodeWebhookFailed, "there is no webhook to ask: it was removed, or disabled after 410 Gone")
}

func errStopping() error {
	return engine.Errorf(engine.CodeDraining, "the node is stopping and asks nobody any more")
}

// secondTry is the pause before it, for endpoints that refuse at once because they restart.
const secondTry = 250 * time.Millisecond

// ask gets the answer to a task's question: two tries at the webhook, one at the fallback. It returns the outcome of
// the try that was taken, else of the last one at the webhook, and how many tries the webhook had.
func (s *Service) ask(ctx context.Context, t *task, d *Delivery) (o outcome, tries int) {
	q, e := t.item.question, &t.item.event
	o.problem = egress.KindURL
	var failures []string
	for tries < 2 && t.dest.url != "" && !o.gone() {
		if tries > 0 && sleep(ctx, secondTry) != nil {
			break
		}
		tries++
		o = s.post(ctx, t.dest.url, t.dest.secrets, e, s.o.AskTimeout, t.gap)
		if s.heard(q, &o, d, "") {
			return o, tries
		}
		failures = append(failures, describe(o))
	}
	if t.dest.fallback != "" && ctx.Err() == nil {
		f := s.post(ctx, t.dest.fallback, t.dest.secrets, e, s.o.AskTimeout, t.gap)
		if s.heard(q, &f, d, maskURL(t.dest.fallback)) {
			return f, tries
		}
		failures = append(failures, "fallback: "+describe(f))
	}
	switch {
	case ctx.Err() != nil:
		q.answer(nil, errStopping())
	case len(failures) == 0:
		q.answer(nil, errNobody())
	default:
		q.answer(nil, engine.Errorf(problem.CodeWebhookFailed, "the application did not answer: %s", strings.Join(failures, ", ")))
	}
	return o, tries
}

// heard notes a try and gives the answer if it brought one, be it one that we do not understand. An answer that is cut
// is none.
func (s *Service) heard(q *question, o *outcome, d *Delivery, fallback string) bool {
	if o.problem == "" {
		o.problem = o.cut
	}
	d.add(o.attempt(fallback))
	if o.problem != "" {
		s.failed.Add(1)
		return false
	}
	ins, err := stream.DecodeInstructions(o.body)
	if e, bad := errors.AsType[*engine.Error](err); bad {
		d.Error = fmt.Sprintf("invalid instructions: %s %s", e.Pointer, e.Message)
		err = &engine.Error{Code: e.Code, Message: "the application's answer: " + e.Message, Pointer: e.Pointer}
	}
	if q.answer(ins, err) && err == nil {
		s.answered.Add(1)
	}
	return true
}

func describe(o outcome) string {
	if o.status != 0 {
		return fmt.Sprintf("%s (status %d)", o.problem, o.status)
	}
	return string(o.problem)
}

// sleep waits for d, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
