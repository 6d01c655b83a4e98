package session

import (
	"context"
	"encoding/json"
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
		p := Page{Limit: 1000}
		for {
			calls, next, err := store.Calls(ctx, "", CallFilter{State: state}, p)
			if err != nil {
				return nil, fmt.Errorf("session: calls in state %s: %w", state, err)
			}
			for i := range calls {
				if calls[i].Node != node {
					continue
				}
				rec, err := store.Call(ctx, calls[i].ProjectID, calls[i].ID)
				if err != nil {
					return nil, fmt.Errorf("session: call %s: %w", calls[i].ID, err)
				}
				lost = append(lost, rec)
			}
			if p.After = next; next == "" {
				break
			}
		}
	}
	slices.SortFunc(lost, func(a, b engine.CallRecord) int { return b.Info.CreatedAt.Compare(a.Info.CreatedAt) })
	return lost, nil
}

// EndLost publishes a call.ended with ReasonNodeLost for each call that the node lost when it died, so that nothing
// ends silently, and returns how many there were. The node must not run any call yet. A call's sequence goes on.
func EndLost(ctx context.Context, store Store, sink engine.Sink, node string) (int, error) {
	lost, err := LostCalls(ctx, store, node)
	if err != nil {
		return 0, err
	}
	for i := range lost {
		e, err := endOf(ctx, store, &lost[i])
		if err != nil {
			return i, err
		}
		sink.Publish(e)
	}
	return len(lost), nil
}

// endOf is the last event of a lost call; it changes its record.
func endOf(ctx context.Context, store Store, rec *engine.CallRecord) (engine.Event, error) {
	now := time.Now().UTC()
	info := &rec.Info
	cause := engine.Cause{
		Reason: engine.ReasonNodeLost, Source: engine.SourceSystem, Text: "the node that ran the call was started again",
	}
	data := map[string]any{
		"direction": info.Direction, "from": info.From, "to": info.To, "state": engine.CallEnded,
		"cause": cause.Reason, "source": cause.Source, "text": cause.Text,
		"duration_ms": now.Sub(info.CreatedAt).Milliseconds(), "talk_ms": 0,
	}
	if info.AnsweredAt != nil {
		data["talk_ms"] = now.Sub(*info.AnsweredAt).Milliseconds()
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return engine.Event{}, fmt.Errorf("session: the end of call %s: %w", info.ID, err)
	}
	webhook, err := webhookOf(ctx, store, info.ID)
	if err != nil {
		return engine.Event{}, err
	}
	info.State, info.EndedAt, info.Hangup, info.Activity, info.BridgedWith = engine.CallEnded, &now, &cause, "", ""
	info.LastSequence++
	return engine.Event{
		ID: id.New("evt"), Type: "call.ended", Timestamp: now, Sequence: info.LastSequence, ProjectID: info.ProjectID,
		ApplicationID: info.ApplicationID, CallID: info.ID, SessionID: info.SessionID, ClientState: info.ClientState,
		Node: info.Node, Data: raw, WebhookURL: webhook, Call: rec,
	}, nil
}

// webhookOf reads where a call's events go, if it has an address of its own.
func webhookOf(ctx context.Context, store Store, callID string) (string, error) {
	events, err := store.CallEvents(ctx, "", callID, 0, 1)
	if err != nil {
		return "", fmt.Errorf("session: events of call %s: %w", callID, err)
	}
	if len(events) == 0 {
		return "", nil
	}
	return events[0].WebhookURL, nil
}
