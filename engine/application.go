package engine

import (
	"context"
	"net/netip"
)

// An Application says where a number's events go and who answers with instructions. It is a resource: the store keeps
// it as this JSON.
type Application struct {
	ID                   string        `json:"id"`
	ProjectID            string        `json:"project_id,omitempty"`
	Name                 string        `json:"name"`
	WebhookURL           string        `json:"webhook_url,omitempty"`  // http(s)://: we post; wss:// (ws://): we dial
	FallbackURL          string        `json:"fallback_url,omitempty"` // http(s)://, asked when WebhookURL fails
	Instructions         []Instruction `json:"instructions,omitempty"` // run for an incoming call without asking anyone
	FallbackInstructions []Instruction `json:"fallback_instructions,omitempty"`
	OnIdle               OnIdle        `json:"on_idle,omitempty"`
	WebhookSecret        string        `json:"webhook_secret,omitempty"` // "whsec_…", Standard Webhooks; made by us if not given. While one replaces another: both, with a space between
	WebhookEvents        []string      `json:"webhook_events,omitempty"` // types or prefixes ending in "*"; empty: all
	Codecs               []string      `json:"codecs,omitempty"`         // of its calls, in this order and no others: "opus", "G722", "PCMU", "PCMA"; empty: what the far end prefers
	// WebhookDisabledAt (RFC 3339) is when the endpoint answered 410 Gone: nothing is sent to it until an update of the
	// application clears it.
	WebhookDisabledAt string `json:"webhook_disabled_at,omitempty"`
	CreatedAt         string `json:"created_at,omitempty"` // RFC 3339
	UpdatedAt         string `json:"updated_at,omitempty"`
}

// Asks reports whether the application is asked for instructions.
func (a Application) Asks() bool { return a.WebhookURL != "" }

// OnIdle is what a call does when its program has run out and its application has nothing to add.
type OnIdle string

// What an idle call does. The zero value hangs up calls that a program steers (a webhook, stored instructions, the
// instructions that it was made with), and waits where commands come from outside (REST, /v1/stream, wss://).
const (
	IdleHangup OnIdle = "hangup"
	IdleWait   OnIdle = "wait"
)

// A Number maps an inbound address to an application: exact ("+4930123", "demo") or a prefix ending in "*". The
// longest match wins; exact before prefix.
type Number struct {
	ID            string `json:"id"`
	ProjectID     string `json:"project_id,omitempty"`
	Number        string `json:"number"`
	ApplicationID string `json:"application_id"`
	CreatedAt     string `json:"created_at,omitempty"`
	UpdatedAt     string `json:"updated_at,omitempty"`
}

// A Directory finds applications. Its methods are called from call loops: they answer from memory.
type Directory interface {
	// Route finds the application of an inbound number (the user part of the address called).
	Route(ctx context.Context, number string) (Application, bool)
	// Match finds the number, exact or prefix, that Route takes.
	Match(ctx context.Context, number string) (Number, bool)
	// Application finds one by id.
	Application(ctx context.Context, project, id string) (Application, bool)
	// Trunk finds the one that dials a number, "" for id leaves the choice; see PickTrunk.
	Trunk(ctx context.Context, project, id, number string) (Trunk, *Error)
	// TrunkFrom finds the one whose calls come from an address, of any project.
	TrunkFrom(ctx context.Context, from netip.Addr) (Trunk, bool)
}
