package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// endpoint is where an event is to go: an application's webhook, whatever its URL is by then, or a call's own URL.
type endpoint struct {
	Project     string `json:"project_id,omitempty"`
	Application string `json:"application_id,omitempty"`
	URL         string `json:"url,omitempty"` // a call's own; the application, if there is one, lends secret and fallback
}

// destination is an endpoint looked up.
type destination struct {
	endpoint endpoint
	url      string // "" if it is disabled, or the application has none (any more)
	fallback string
	secrets  string
	events   []string
}

func endpointOf(e *engine.Event) endpoint {
	return endpoint{Project: e.ProjectID, Application: e.ApplicationID, URL: e.WebhookURL}
}

// find looks an endpoint up, in memory.
func (s *Service) find(ep endpoint) destination {
	if ep.Application != "" {
		app, ok := s.o.Directory.Application(context.Background(), ep.Project, ep.Application)
		if ok {
			return destinationOf(ep, &app)
		}
	}
	return destination{endpoint: ep, url: ep.URL}
}

func destinationOf(ep endpoint, app *engine.Application) destination {
	d := destination{endpoint: ep, url: ep.URL, secrets: app.WebhookSecret, fallback: app.FallbackURL}
	if ep.URL == "" && app.WebhookDisabledAt == "" {
		d.url, d.events = app.WebhookURL, app.WebhookEvents
	}
	return d
}

// wants reports whether e goes to d. What asks always does.
func (d destination) wants(e *engine.Event) bool {
	return d.url != "" && endpointOf(e) == d.endpoint && (e.Answer != nil || stream.MatchType(d.events, e.Type))
}

// socket reports whether d is a WebSocket.
func (d destination) socket() bool {
	return strings.HasPrefix(d.url, "ws://") || strings.HasPrefix(d.url, "wss://")
}

// host is what concurrency is counted by.
func (d destination) host() string { return hostOf(d.url) }

func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// disable notes that an application's endpoint has answered 410 Gone, and tells the customer once.
func (s *Service) disable(ctx context.Context, ep endpoint, eventID string) error {
	if ep.URL != "" || ep.Application == "" {
		return nil // a call's own URL goes with the call
	}
	s.disabling.Lock()
	defer s.disabling.Unlock()
	item, err := s.o.Store.Get(ctx, session.KindApplication, ep.Project, ep.Application)
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	var app engine.Application
	if err == nil {
		err = json.Unmarshal(item.Value, &app)
	}
	if err != nil {
		return fmt.Errorf("webhook: disable %s: %w", ep.Application, err)
	}
	if app.WebhookDisabledAt != "" {
		return nil
	}
	now := time.Now().UTC()
	app.WebhookDisabledAt = now.Format(time.RFC3339)
	if item.Value, err = json.Marshal(app); err == nil {
		err = s.o.Store.Put(ctx, item)
	}
	if err != nil {
		return fmt.Errorf("webhook: disable %s: %w", ep.Application, err)
	}
	s.o.Logger.Warn("webhook disabled: the endpoint is gone", "application", ep.Application, "url", maskURL(app.WebhookURL))
	data, err := json.Marshal(map[string]string{"webhook_url": maskURL(app.WebhookURL), "event_id": eventID, "reason": "gone"})
	if err != nil {
		return fmt.Errorf("webhook: disable %s: %w", ep.Application, err)
	}
	s.o.Log.Publish(engine.Event{
		ID: s.o.NewID("evt"), Type: "webhook_endpoint.disabled", Timestamp: now, ProjectID: ep.Project,
		ApplicationID: ep.Application, Node: s.o.Node, Data: data,
	})
	return nil
}
