package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
)

// LostCalls reads the calls of a node that have not ended: after a crash nobody else will end them. Newest first.
func LostCalls(ctx context.Context, store Store, node string) ([]engine.CallRecord, error) {
	var lost []engine.CallRecord
	for _, state := range []engine.CallState{engine.CallInitiated, engine.CallRinging, engine.CallAnswered} {
		err := pages(func(p Page) (string, error) {
			calls, next, err := store.Calls(ctx, "", CallFilter{State: state}, p)
			if err != nil {
				return "", fmt.Errorf("session: calls in state %s: %w", state, err)
			}
			for i := range calls {
				if calls[i].Node != node {
					continue
				}
				rec, err := store.Call(ctx, calls[i].ProjectID, calls[i].ID)
				if err != nil {
					return "", fmt.Errorf("session: call %s: %w", calls[i].ID, err)
				}
				lost = append(lost, rec)
			}
			return next, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(lost, func(a, b engine.CallRecord) int { return b.Info.CreatedAt.Compare(a.Info.CreatedAt) })
	return lost, nil
}

// LostConferences reads the conferences of a node that have not ended.
func LostConferences(ctx context.Context, store Store, node string) ([]engine.ConferenceInfo, error) {
	var lost []engine.ConferenceInfo
	for _, state := range []engine.ConferenceState{engine.ConferenceWaiting, engine.ConferenceActive} {
		err := pages(func(p Page) (string, error) {
			list, next, err := store.Conferences(ctx, "", ConferenceFilter{State: state}, p)
			if err != nil {
				return "", fmt.Errorf("session: conferences in state %s: %w", state, err)
			}
			lost = append(lost, slices.DeleteFunc(list, func(c engine.ConferenceInfo) bool { return c.Node != node })...)
			return next, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// LostRecordings reads the recordings of a node that are under way.
func LostRecordings(ctx context.Context, store Store, node string) ([]engine.RecordingInfo, error) {
	var lost []engine.RecordingInfo
	for _, state := range []engine.RecordingState{engine.RecordingRunning, engine.RecordingPaused} {
		err := pages(func(p Page) (string, error) {
			list, next, err := store.Recordings(ctx, "", RecordingFilter{State: state}, p)
			if err != nil {
				return "", fmt.Errorf("session: recordings in state %s: %w", state, err)
			}
			lost = append(lost, slices.DeleteFunc(list, func(r engine.RecordingInfo) bool { return r.Node != node })...)
			return next, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// pages calls read for each page of a list.
func pages(read func(Page) (next string, err error)) error {
	p := Page{Limit: 1000}
	for {
		next, err := read(p)
		if err != nil || next == "" {
			return err
		}
		p.After = next
	}
}

// EndLost publishes the ends that a node owes since it died, so that nothing ends silently: a call.ended with
// ReasonNodeLost for each call, a conference.ended for each conference, and for each recording that was under way a
// recording.saved or failed. Sequences go on without a gap. The node must not run any call yet. recovered says what is
// left of a recording's file, false if nothing is; without it no recording is saved. EndLost returns the number of calls.
func EndLost(
	ctx context.Context, store Store, sink engine.Sink, node string,
	recovered ...func(engine.RecordingInfo) (engine.RecordingResult, bool),
) (int, error) {
	l := loss{
		store: store, sink: sink, now: time.Now().UTC(), recovered: recovered,
		calls: map[string]*engine.CallRecord{}, conferences: map[string]*engine.ConferenceInfo{},
	}
	calls, err := LostCalls(ctx, store, node)
	if err != nil {
		return 0, err
	}
	for i := range calls {
		if err := l.endCall(ctx, &calls[i]); err != nil {
			return i, err
		}
	}
	conferences, err := LostConferences(ctx, store, node)
	if err != nil {
		return len(calls), err
	}
	for i := range conferences {
		if err := l.endConference(ctx, &conferences[i]); err != nil {
			return len(calls), err
		}
	}
	recordings, err := LostRecordings(ctx, store, node)
	if err != nil {
		return len(calls), err
	}
	for i := range recordings {
		if err := l.endRecording(ctx, &recordings[i]); err != nil {
			return len(calls), err
		}
	}
	return len(calls), nil
}

// loss is what EndLost knows of the things that it has ended: the store does not show their last events yet.
type loss struct {
	store       Store
	sink        engine.Sink
	now         time.Time
	recovered   []func(engine.RecordingInfo) (engine.RecordingResult, bool)
	calls       map[string]*engine.CallRecord
	conferences map[string]*engine.ConferenceInfo
}

func (l *loss) endCall(ctx context.Context, rec *engine.CallRecord) error {
	info := &rec.Info
	cause := engine.Cause{
		Reason: engine.ReasonNodeLost, Source: engine.SourceSystem, Text: "the node that ran the call was started again",
	}
	data := map[string]any{
		"cause": cause.Reason, "source": cause.Source, "text": cause.Text,
		"duration_ms": l.now.Sub(info.CreatedAt).Milliseconds(), "talk_ms": 0,
	}
	if info.AnsweredAt != nil {
		data["talk_ms"] = l.now.Sub(*info.AnsweredAt).Milliseconds()
	}
	info.State, info.EndedAt, info.Hangup = engine.CallEnded, &l.now, &cause
	info.Activity, info.BridgedWith, info.ConferenceID = "", "", ""
	l.calls[info.ID] = rec
	return l.publishCall(ctx, rec, "call.ended", data, nil)
}

func (l *loss) endConference(ctx context.Context, c *engine.ConferenceInfo) error {
	c.State, c.EndedAt, c.EndReason = engine.ConferenceEnded, &l.now, string(engine.ReasonNodeLost)
	c.Participants = []engine.ParticipantInfo{}
	l.conferences[c.ID] = c
	return l.publishConference(ctx, c, "conference.ended", map[string]any{
		"reason": engine.ReasonNodeLost, "duration_ms": l.now.Sub(c.CreatedAt).Milliseconds(),
	}, nil)
}

// endRecording tells the end of a recording to its conference, or else to its call. If neither is kept any more, only
// its record says so.
func (l *loss) endRecording(ctx context.Context, r *engine.RecordingInfo) error {
	event, data := l.conclude(r)
	data["recording"] = r
	if r.ConferenceID != "" {
		c, err := l.conference(ctx, r)
		if err == nil {
			if c.Recording == r.ID {
				c.Recording = ""
			}
			return l.publishConference(ctx, c, "conference."+event, data, r)
		}
		if !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("session: conference %s: %w", r.ConferenceID, err)
		}
	}
	rec, err := l.call(ctx, r)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := l.store.PutRecording(ctx, *r); err != nil {
			return fmt.Errorf("session: recording %s: %w", r.ID, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("session: call %s: %w", r.CallID, err)
	}
	if rec.Info.Recording == r.ID {
		rec.Info.Recording = ""
	}
	return l.publishCall(ctx, rec, "call."+event, data, r)
}

// conclude writes into r what became of it.
func (l *loss) conclude(r *engine.RecordingInfo) (event string, data map[string]any) {
	data = map[string]any{"reason": engine.ReasonNodeLost}
	r.EndedAt = &l.now
	for _, recovered := range l.recovered {
		res, ok := recovered(*r)
		if !ok {
			continue
		}
		r.DurationMS, r.Size, r.SHA256, r.Channels = res.Duration.Milliseconds(), res.Size, res.SHA256, res.Channels
		if res.Err == nil {
			r.State = engine.RecordingSaved
			return "recording.saved", data
		}
		r.Error = res.Err.Error()
	}
	r.State = engine.RecordingFailed
	if r.Error == "" {
		r.Error = "the node that recorded was started again, and nothing of the recording is left"
	}
	data["code"], data["detail"] = engine.CodeInternal, r.Error
	return "recording.failed", data
}

func (l *loss) call(ctx context.Context, r *engine.RecordingInfo) (*engine.CallRecord, error) {
	if rec, ok := l.calls[r.CallID]; ok {
		return rec, nil
	}
	rec, err := l.store.Call(ctx, r.ProjectID, r.CallID)
	if err != nil {
		return nil, err
	}
	l.calls[r.CallID] = &rec
	return &rec, nil
}

func (l *loss) conference(ctx context.Context, r *engine.RecordingInfo) (*engine.ConferenceInfo, error) {
	if c, ok := l.conferences[r.ConferenceID]; ok {
		return c, nil
	}
	c, err := l.store.Conference(ctx, r.ProjectID, r.ConferenceID)
	if err != nil {
		return nil, err
	}
	l.conferences[r.ConferenceID] = &c
	return &c, nil
}

func (l *loss) publishCall(
	ctx context.Context, rec *engine.CallRecord, typ string, data map[string]any, r *engine.RecordingInfo,
) error {
	info := &rec.Info
	data["direction"], data["from"], data["to"], data["state"] = info.Direction, info.From, info.To, info.State
	e := engine.Event{
		Type: typ, ProjectID: info.ProjectID, ApplicationID: info.ApplicationID, CallID: info.ID,
		SessionID: info.SessionID, ClientState: info.ClientState, Node: info.Node, Recording: r,
	}
	return l.publish(ctx, &e, data, &info.LastSequence, func() {
		now := *rec // rec may change with the next event
		e.Call = &now
	})
}

func (l *loss) publishConference(
	ctx context.Context, c *engine.ConferenceInfo, typ string, data map[string]any, r *engine.RecordingInfo,
) error {
	data["conference_name"], data["state"], data["participants"] = c.Name, c.State, len(c.Participants)
	e := engine.Event{
		Type: typ, ProjectID: c.ProjectID, ApplicationID: c.ApplicationID, ConferenceID: c.ID, Node: c.Node, Recording: r,
	}
	return l.publish(ctx, &e, data, &c.LastSequence, func() {
		now := *c
		e.Conference = &now
	})
}

// publish gives an event the number behind last, which moves on, and has record put into it before it goes.
func (l *loss) publish(ctx context.Context, e *engine.Event, data map[string]any, last *uint64, record func()) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("session: the end of %s: %w", subject(e), err)
	}
	if e.WebhookURL, err = webhookOf(ctx, l.store, subject(e)); err != nil {
		return err
	}
	// The record may be older than the newest event: not every event carries one.
	for {
		newer, err := l.store.CallEvents(ctx, "", subject(e), *last, 1000)
		if err != nil {
			return fmt.Errorf("session: events of %s: %w", subject(e), err)
		}
		if len(newer) == 0 {
			break
		}
		*last = newer[len(newer)-1].Sequence
	}
	*last++
	e.ID, e.Timestamp, e.Sequence, e.Data = id.New("evt"), l.now, *last, raw
	record()
	l.sink.Publish(*e)
	return nil
}

// webhookOf reads where the events of a call or a conference go, if it has an address of its own.
func webhookOf(ctx context.Context, store Store, subject string) (string, error) {
	events, err := store.CallEvents(ctx, "", subject, 0, 1)
	if err != nil {
		return "", fmt.Errorf("session: events of %s: %w", subject, err)
	}
	if len(events) == 0 {
		return "", nil
	}
	return events[0].WebhookURL, nil
}
