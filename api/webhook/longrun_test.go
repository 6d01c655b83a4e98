package webhook_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/session"
)

// TestADayOfRetries lets a day and more pass on a fake clock, with an endpoint that the dialler refuses, so that no
// socket is involved: the tries follow the schedule, and after 24 hours the event is given up.
func TestADayOfRetries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tipring.db")
	synctest.Test(t, func(t *testing.T) {
		store, err := session.OpenEmbedded(path, session.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		value, _ := json.Marshal(engine.Application{ID: appID, ProjectID: project, WebhookURL: "http://127.0.0.1:9/"})
		if err := store.Put(t.Context(), session.Item{Kind: session.KindApplication, Project: project, ID: appID, Value: value}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		directory, err := session.NewDirectory(ctx, store)
		if err != nil {
			t.Fatal(err)
		}
		log := session.NewLog(store, session.LogOptions{})
		service := webhook.New(webhook.Options{
			Log: log, Store: store, Directory: directory, Commander: new(commander), Egress: egress.New(egress.Options{}),
		})
		over := make(chan error, 1)
		go func() { over <- service.Run(ctx) }()

		began := time.Now()
		for i := range 2 {
			log.Publish(engine.Event{
				ID: []string{"evt_1", "evt_2"}[i], Type: "call.test", Timestamp: began, Sequence: uint64(i + 1),
				ProjectID: project, ApplicationID: appID, CallID: "call_1", Data: []byte(`{}`),
			})
		}
		want := []time.Duration{0, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 6 * time.Hour, 6 * time.Hour, 6 * time.Hour}
		last := began
		for i, step := range want {
			for service.Stats().Failed+service.Stats().GivenUp <= uint64(i) {
				time.Sleep(50 * time.Millisecond)
				if time.Since(began) > 40*time.Hour {
					t.Fatalf("only %d tries", i)
				}
				if time.Since(began) > time.Minute {
					time.Sleep(time.Second)
				}
			}
			if got := time.Since(last); got < step || got > step+step/5+2*time.Second {
				t.Errorf("try %d came after %s, want %s", i+1, got, step)
			}
			last = time.Now()
			if service.Stats().GivenUp > 0 {
				break
			}
		}
		time.Sleep(time.Minute)
		s := service.Stats()
		if s.GivenUp != 2 || s.Lanes != 0 || s.Delivered != 0 {
			t.Errorf("stats %+v", s)
		}
		if since := last.Sub(began); since < 24*time.Hour || since > 31*time.Hour {
			t.Errorf("given up after %s", since)
		}
		items, _, err := store.List(ctx, session.KindDelivery, project, session.Page{Limit: 10})
		if err != nil || len(items) != 2 {
			t.Fatalf("%d deliveries, %v", len(items), err)
		}
		var d webhook.Delivery
		_ = json.Unmarshal(items[0].Value, &d)
		if d.State != webhook.StateFailed || d.NextAttemptAt != nil || d.Error != "private_address" {
			t.Errorf("delivery %+v", d)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		if err := log.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}
