package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// maxTimelineEvents bounds the events, and the deliveries, that a timeline shows: the first ones.
const maxTimelineEvents = 5000

// GetCallTimeline implements StrictServerInterface.
func (h *handlers) GetCallTimeline(
	ctx context.Context, r GetCallTimelineRequestObject,
) (GetCallTimelineResponseObject, error) {
	kinds := or(r.Params.Kind, nil)
	wants := func(k engine.TrailKind) bool { return len(kinds) == 0 || slices.Contains(kinds, k) }
	after, err := readPlace(or(r.Params.After, ""))
	if err != nil {
		return nil, err
	}
	trail, err := h.trail(ctx, r.CallID)
	if err != nil {
		return nil, err
	}
	var all []TimelineEntry
	for i := range trail.Entries {
		if e := &trail.Entries[i]; wants(e.Kind) {
			all = append(all, TimelineEntry{
				At: e.At, Kind: e.Kind, Direction: optionalOf(e.Direction), Command: e.Command, SIP: e.SIP, Page: e.Page, Quality: e.Quality,
			})
		}
	}
	if wants(engine.TrailKindEvent) {
		if all, err = h.timelineEvents(ctx, r.CallID, all); err != nil {
			return nil, err
		}
	}
	if wants(engine.TrailKindWebhook) {
		if all, err = h.timelineWebhooks(ctx, r.CallID, all); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b TimelineEntry) int { return a.At.Compare(b.At) })
	page := Timeline{Data: []TimelineEntry{}, Dropped: trail.Dropped}
	limit := or(r.Params.Limit, defaultLimit)
	for i := range all {
		if !after.next(all[i].At) {
			continue
		}
		if len(page.Data) == limit {
			page.HasMore = true
			break
		}
		after.pass(all[i].At)
		page.Data = append(page.Data, all[i])
	}
	page.NextCursor = optional(after.String())
	return GetCallTimeline200JSONResponse(page), nil
}

// trail reads what the engine knows of a call that lives, or the store of one that is over. A call without a trail, lost
// with its node perhaps, has an empty one.
func (h *handlers) trail(ctx context.Context, callID string) (engine.TrailRecord, error) {
	reply, err := h.do(ctx, &engine.InspectTrail{CallID: callID, ProjectID: project(ctx)})
	if err == nil && reply.Trail != nil {
		return *reply.Trail, nil
	}
	if err != nil && engine.ErrorCode(err) != engine.CodeCallNotFound {
		return engine.TrailRecord{}, err
	}
	trail, err := session.ReadTrail(ctx, h.Store, project(ctx), callID)
	if errors.Is(err, session.ErrNotFound) {
		_, err = h.storedCall(ctx, callID)
	}
	return trail, err
}

func (h *handlers) timelineEvents(ctx context.Context, callID string, all []TimelineEntry) ([]TimelineEntry, error) {
	var after uint64
	for n := 0; n < maxTimelineEvents; {
		events, err := h.Store.CallEvents(ctx, project(ctx), callID, after, maxLimit)
		if err != nil {
			return nil, err
		}
		for i := range events {
			e := events[i].Event
			all = append(all, TimelineEntry{
				At: e.Timestamp, Kind: engine.TrailKindEvent, Direction: optionalOf(engine.TrailOut), Event: &e,
			})
			after = e.Sequence
		}
		if n += len(events); len(events) < maxLimit {
			break
		}
	}
	return all, nil
}

func (h *handlers) timelineWebhooks(ctx context.Context, callID string, all []TimelineEntry) ([]TimelineEntry, error) {
	p := session.Page{Limit: maxLimit}
	for n := 0; n < maxTimelineEvents; n += maxLimit {
		items, next, err := h.Store.CallItems(ctx, session.KindDelivery, project(ctx), callID, p)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			d, err := decode[WebhookDelivery](it)
			if err != nil {
				return nil, err
			}
			for i, a := range d.Attempts {
				all = append(all, TimelineEntry{
					At: a.At, Kind: engine.TrailKindWebhook, Direction: optionalOf(engine.TrailOut),
					Webhook: &TimelineWebhook{
						DeliveryID: d.ID, EventID: d.EventID, EventType: d.EventType, URL: or(a.URL, d.URL), Attempt: i + 1,
						Status: a.Status, LatencyMs: a.LatencyMs, Error: a.Error, Response: a.Response,
					},
				})
			}
		}
		if p.After = next; next == "" {
			break
		}
	}
	return all, nil
}

// optionalOf is optional for strings of any type.
func optionalOf[T ~string](s T) *T {
	if s == "" {
		return nil
	}
	return &s
}

// place is how far a reader of a timeline has come: a time, and how many entries of that time it has seen.
type place struct {
	at   int64 // ns
	seen int
	skip int // of seen, entries that are still to be passed over
}

func readPlace(cursor string) (p place, err error) {
	if cursor == "" {
		return p, nil
	}
	at, seen, _ := strings.Cut(cursor, ".")
	ns, err1 := strconv.ParseInt(at, 36, 64)
	n, err2 := strconv.Atoi(seen)
	if err1 != nil || err2 != nil || n < 0 {
		return p, fmt.Errorf("%w: %.40q", session.ErrCursor, cursor)
	}
	return place{at: ns, seen: n, skip: n}, nil
}

// next reports whether an entry lies behind the place; entries are asked for in order.
func (p *place) next(at time.Time) bool {
	switch ns := at.UnixNano(); {
	case ns < p.at:
		return false
	case ns == p.at && p.skip > 0:
		p.skip--
		return false
	}
	return true
}

// pass moves the place behind an entry.
func (p *place) pass(at time.Time) {
	if ns := at.UnixNano(); ns != p.at {
		p.at, p.seen, p.skip = ns, 0, 0
	}
	p.seen++
}

func (p *place) String() string {
	if p.at == 0 {
		return ""
	}
	return strconv.FormatInt(p.at, 36) + "." + strconv.Itoa(p.seen)
}
