package api

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// handlers do the operations of the contract. Requests have been authenticated and validated when they arrive here.
type handlers struct {
	Options
	// config makes checks that span resources hold: a number's application is there, and stays while it has numbers.
	config sync.Mutex
	life   context.Context //nolint:containedctx // the server's, not a request's: see waiting
}

var _ StrictServerInterface = (*handlers)(nil)

const (
	commandTimeout = 15 * time.Second // for a command to be accepted
	defaultLimit   = 50
	maxLimit       = 1000
	timestampForm  = "2006-01-02T15:04:05.000Z07:00" // RFC 3339 with milliseconds
)

func now() string { return time.Now().UTC().Format(timestampForm) }

// do runs a command for the project that asks.
func (h *handlers) do(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
	ctx, stop := context.WithTimeout(ctx, commandTimeout)
	defer stop()
	return h.Commander.Do(ctx, cmd)
}

// waiting is the context of a request that waits for events: it ends when the server is shut down, too.
func (h *handlers) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	release := context.AfterFunc(h.life, stop)
	return ctx, func() { release(); stop() }
}

func page(limit *Limit, after *After) session.Page {
	return session.Page{Limit: or(limit, defaultLimit), After: or(after, "")}
}

// or is *p, or d if there is none.
func or[T any](p *T, d T) T {
	if p == nil {
		return d
	}
	return *p
}

// optional is a pointer to s, nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// replayed is the header Idempotent-Replayed.
func replayed(yes bool) *string {
	if !yes {
		return nil
	}
	return optional("true")
}

// load reads a resource of the asking project.
func load[T any](ctx context.Context, h *handlers, kind session.Kind, id string) (v T, err error) {
	item, err := h.Store.Get(ctx, kind, project(ctx), id)
	if err != nil {
		return v, notFound(err, string(kind), id)
	}
	return decode[T](item)
}

func decode[T any](item session.Item) (v T, err error) {
	if err := json.Unmarshal(item.Value, &v); err != nil {
		return v, fmt.Errorf("api: stored %s %s: %w", item.Kind, item.ID, err)
	}
	return v, nil
}

// list reads a page of resources of the asking project.
func list[T any](ctx context.Context, h *handlers, kind session.Kind, p session.Page, match func(T) bool) ([]T, string, error) {
	return listFrom(ctx, h.Store.List, kind, p, match)
}

// listFrom is list with another way to read a page.
func listFrom[T any](
	ctx context.Context, read func(context.Context, session.Kind, string, session.Page) ([]session.Item, string, error),
	kind session.Kind, p session.Page, match func(T) bool,
) ([]T, string, error) {
	found := []T{}
	for range maxListPages {
		items, next, err := read(ctx, kind, project(ctx), session.Page{Limit: p.Limit - len(found), After: p.After})
		if err != nil {
			return nil, "", err
		}
		for _, item := range items {
			v, err := decode[T](item)
			if err != nil {
				return nil, "", err
			}
			if match == nil || match(v) {
				found = append(found, v)
			}
		}
		p.After = next
		if next == "" || len(found) >= p.Limit {
			break
		}
	}
	return found, p.After, nil
}

// maxListPages bounds how far one request looks for what matches a filter; the cursor leads on from there.
const maxListPages = 20

// store writes a resource.
func (h *handlers) store(
	ctx context.Context, write func(context.Context, ...session.Item) error, item session.Item, v any,
) error {
	var err error
	item.Project = project(ctx)
	if item.Value, err = json.Marshal(v); err != nil {
		return fmt.Errorf("api: %s: %w", item.Kind, err)
	}
	return write(ctx, item)
}

// merge changes the properties of a resource by a JSON merge patch (RFC 7396) of one level: null removes, all else replaces.
func merge[T any](old T, patch json.RawMessage) (changed T, err error) {
	raw, err := json.Marshal(old)
	if err != nil {
		return changed, fmt.Errorf("api: merge: %w", err)
	}
	var fields, changes map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return changed, fmt.Errorf("api: merge: %w", err)
	}
	if err := json.Unmarshal(patch, &changes); err != nil {
		return changed, decodeError(err)
	}
	for name, v := range changes {
		if string(v) == "null" {
			delete(fields, name)
			continue
		}
		fields[name] = v
	}
	if raw, err = json.Marshal(fields); err != nil {
		return changed, fmt.Errorf("api: merge: %w", err)
	}
	if err := json.Unmarshal(raw, &changed); err != nil {
		return changed, decodeError(err)
	}
	return changed, nil
}
