package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ListCallEvents implements StrictServerInterface.
func (h *handlers) ListCallEvents(ctx context.Context, r ListCallEventsRequestObject) (ListCallEventsResponseObject, error) {
	after, limit := uint64(max(0, or(r.Params.After, 0))), or(r.Params.Limit, defaultLimit)
	ask := min(limit+1, maxLimit) // one more tells whether there is more
	events, err := h.Store.CallEvents(ctx, project(ctx), r.CallID, after, ask)
	if err == nil && len(events) == 0 {
		if err := h.mustExist(ctx, r.CallID); err != nil {
			return nil, err
		}
		if wait := or(r.Params.WaitS, 0); wait > 0 {
			events, err = h.waitCall(ctx, r.CallID, after, ask, time.Duration(wait)*time.Second)
		}
	}
	if err != nil {
		return nil, err
	}
	return ListCallEvents200JSONResponse(pageOfEvents(events, after, limit)), nil
}

// pageOfEvents is the page of at most limit events behind the sequence after; one more event than limit, or as many as
// can be asked for, says that there is more.
func pageOfEvents(events []session.Logged, after uint64, limit int) EventList {
	body := EventList{Data: []Event{}, HasMore: len(events) > limit || len(events) == maxLimit}
	for _, e := range events[:min(limit, len(events))] {
		body.Data = append(body.Data, e.Event)
		after = e.Sequence
	}
	body.NextCursor = strconv.FormatUint(after, 10)
	return body
}

// mustExist refuses to wait for a call that there is not.
func (h *handlers) mustExist(ctx context.Context, callID string) error {
	reply, err := h.do(ctx, &engine.Inspect{CallID: callID, ProjectID: project(ctx)})
	if err == nil && reply.Call != nil || err != nil && engine.ErrorCode(err) != engine.CodeCallNotFound {
		return err
	}
	_, err = h.storedCall(ctx, callID)
	return err
}

func (h *handlers) waitCall(
	ctx context.Context, callID string, after uint64, limit int, wait time.Duration,
) ([]session.Logged, error) {
	ctx, stop := h.waiting(ctx)
	defer stop()
	ctx, over := context.WithTimeout(ctx, wait)
	defer over()
	return h.Log.WaitCall(ctx, project(ctx), callID, after, limit)
}

// ListEvents implements StrictServerInterface.
func (h *handlers) ListEvents(ctx context.Context, r ListEventsRequestObject) (ListEventsResponseObject, error) {
	p := r.Params
	after := session.Cursor(or(p.After, or(p.LastEventID, "")))
	match := eventFilter(p)
	if requestOf(ctx).stream {
		if _, _, err := h.Store.Events(ctx, project(ctx), after, 1); err != nil {
			return nil, err // a cursor that is none is said while it can be
		}
		fromNow := after == "" && or(p.From, Now) == Now
		ctx, stop := h.waiting(ctx)
		follower := h.Log.Follow(ctx, session.FollowOptions{
			Project: project(ctx), After: after, FromNow: fromNow, CatchUp: true, Match: match,
		})
		return &eventStream{stop: stop, follower: follower}, nil
	}
	limit := or(p.Limit, defaultLimit)
	if after == "" && or(p.From, Start) == Now {
		var err error
		if after, err = h.Store.Tail(ctx); err != nil {
			return nil, err
		}
	}
	body, err := h.readEvents(ctx, after, limit, match)
	if err != nil {
		return nil, err
	}
	if wait := or(p.WaitS, 0); wait > 0 && len(body.Data) == 0 && !body.HasMore {
		if err := h.waitEvents(ctx, &body, limit, match, time.Duration(wait)*time.Second); err != nil {
			return nil, err
		}
	}
	return ListEvents200JSONResponse(body), nil
}

// maxEventPages bounds how far one request reads the log for events that match; the cursor leads on from there.
const maxEventPages = 20

// readEvents reads a page of the log.
func (h *handlers) readEvents(
	ctx context.Context, after session.Cursor, limit int, match func(*engine.Event) bool,
) (EventList, error) {
	body := EventList{Data: []Event{}}
	for range maxEventPages {
		events, next, err := h.Store.Events(ctx, project(ctx), after, max(limit, 200))
		if err != nil {
			return body, err
		}
		body.HasMore = next != after
		if !body.HasMore { // the end of the log
			break
		}
		for i, e := range events {
			if !match(&events[i].Event) {
				continue
			}
			if len(body.Data) == limit {
				return body, nil // the cursor is that of the last one taken
			}
			body.Data = append(body.Data, e.Event)
			after = e.Cursor
			body.NextCursor = string(after)
		}
		after = next
		body.NextCursor = string(after)
	}
	body.NextCursor = string(after)
	return body, nil
}

// waitEvents waits for the first event that matches and takes what has come with it.
func (h *handlers) waitEvents(
	ctx context.Context, body *EventList, limit int, match func(*engine.Event) bool, wait time.Duration,
) error {
	ctx, stop := h.waiting(ctx)
	defer stop()
	ctx, over := context.WithTimeout(ctx, wait)
	defer over()
	after := session.Cursor(body.NextCursor)
	follower := h.Log.Follow(ctx, session.FollowOptions{Project: project(ctx), After: after, CatchUp: true, Match: match})
	e, ok := <-follower.Events()
	if !ok {
		if ctx.Err() != nil {
			return nil // nothing came
		}
		return follower.Err()
	}
	body.Data, body.NextCursor = append(body.Data, e.Event), string(e.Cursor)
	for len(body.Data) < limit {
		select {
		case e, ok := <-follower.Events():
			if !ok {
				return nil
			}
			body.Data, body.NextCursor = append(body.Data, e.Event), string(e.Cursor)
		default:
			return nil
		}
	}
	return nil
}

// eventFilter is the filter of GET /v1/events, as a subscription of /v1/stream has it.
func eventFilter(p ListEventsParams) func(*engine.Event) bool {
	filter := stream.Subscription{
		CallID: or(p.CallID, ""), ConferenceID: or(p.ConferenceID, ""), ApplicationID: or(p.ApplicationID, ""),
	}
	if p.Types != nil {
		filter.Types = strings.Split(*p.Types, ",")
	}
	return filter.Match
}

// wantsEventStream reports whether a request prefers Server-Sent Events.
func wantsEventStream(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			media, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "text/event-stream":
				return true
			case "application/json", "*/*":
				return false
			}
		}
	}
	return false
}
