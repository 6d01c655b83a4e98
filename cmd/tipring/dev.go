package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// demo is one number that answers in dev mode, and what its application does.
type demo struct {
	number, name, instructions string
}

func demos() []demo {
	return []demo{
		{"echo", "Echo: you hear yourself", `[{"action":"answer"},{"action":"echo"}]`},
		{"room", "Room: everybody who calls hears the others", `[
			{"action":"answer"},
			{"action":"join","conference":"room","settings":{"entry_tone":"tone:660/150,880/150","exit_tone":"tone:880/150,660/150",
				"music":"file:alone.wav"}}]`},
		{"demo", "Demo: greets, takes digits and says them back", `[
			{"action":"answer"},
			{"action":"play","url":"file:welcome.wav"},
			{"action":"gather","prompt":{"url":"file:digits.wav"},"max_digits":16,"finish_on_key":"#","timeout_ms":10000},
			{"action":"play","url":"file:youkeyed.wav"},
			{"action":"play","url":"tone:dtmf/{digits}"},
			{"action":"play","url":"file:goodbye.wav"},
			{"action":"hangup"}]`},
	}
}

// seedDemos writes the demo applications and numbers. Numbers that somebody has given another meaning stay theirs.
func seedDemos(ctx context.Context, store session.Store) error {
	now := time.Now().UTC().Format(time.RFC3339)
	for _, d := range demos() {
		app := engine.Application{
			ID: "app_" + d.number, ProjectID: session.DefaultProject, Name: d.name, OnIdle: engine.IdleHangup,
			CreatedAt: now, UpdatedAt: now,
		}
		if err := json.Unmarshal([]byte(d.instructions), &app.Instructions); err != nil {
			return fmt.Errorf("the demo %s: %w", d.number, err)
		}
		number := engine.Number{
			ID: "num_" + d.number, ProjectID: session.DefaultProject, Number: d.number, ApplicationID: app.ID,
			CreatedAt: now, UpdatedAt: now,
		}
		for _, r := range []struct {
			item  session.Item
			value any
		}{
			{session.Item{Kind: session.KindApplication, ID: app.ID}, app},
			{session.Item{Kind: session.KindNumber, ID: number.ID, Unique: number.Number}, number},
		} {
			value, err := json.Marshal(r.value)
			if err != nil {
				return fmt.Errorf("the demo %s: %w", d.number, err)
			}
			r.item.Project, r.item.Value = session.DefaultProject, value
			if err := store.Create(ctx, r.item); err != nil && !errors.Is(err, session.ErrExists) {
				return fmt.Errorf("the demo %s: %w", d.number, err)
			}
		}
	}
	return nil
}

// devKey is the API key of dev mode: made once and kept beside the store, so that it is the same after a restart.
func devKey(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "dev-key")
	if b, err := os.ReadFile(path); err == nil { //nolint:gosec // G304: the operator names the folder
		if key := strings.TrimSpace(string(b)); len(key) >= 16 {
			return key, nil
		}
	}
	key := "tpk_" + rand.Text() + rand.Text()
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("the key of dev mode: %w", err)
	}
	return key, nil
}

// writeBanner says how to begin.
func writeBanner(w io.Writer, key, httpAddress, sipAddress string) {
	fmt.Fprintf(w, `
  Tipring %s is running for trying out, on this machine only.

  Console, with a phone   http://%s/console/#key=%s
  Phone page (the SDK)    http://%s/sdk/#key=%s
  API and documentation   http://%s/docs
  API key                 %s
  Call it                 sip:echo@%s   you hear yourself
                          sip:demo@%s   keys and prompts
                          sip:room@%s   call it twice and talk

  Try:
    export TIPRING_KEY=%s
    curl -s -H "Authorization: Bearer $TIPRING_KEY" http://%s/v1/calls

  Ctrl-C ends it.

`, versionText(), httpAddress, key, httpAddress, key, httpAddress, key, sipAddress, sipAddress, sipAddress, key, httpAddress)
}
