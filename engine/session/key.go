package session

import "time"

// Key is an API key. The secret itself is never stored: Item.Unique is its hash.
type Key struct {
	ID        string    `json:"id"`
	ProjectID string    `json:"project_id"`
	Name      string    `json:"name"`
	Prefix    string    `json:"prefix"` // the first characters, to tell keys apart: "tpk_4fGh"
	Scopes    []Scope   `json:"scopes"`
	CreatedAt time.Time `json:"created_at"`
}

// Scope is what a key may do.
type Scope string

// The scopes. ScopeAdmin implies all others.
const (
	ScopeCallsRead       Scope = "calls:read"
	ScopeCallsWrite      Scope = "calls:write"
	ScopeEventsRead      Scope = "events:read"
	ScopeRecordingsRead  Scope = "recordings:read"
	ScopeRecordingsWrite Scope = "recordings:write"
	ScopeConfigRead      Scope = "config:read"  // applications, numbers, deliveries
	ScopeConfigWrite     Scope = "config:write" //
	ScopeTokensWrite     Scope = "tokens:write" // for browsers
	ScopeAdmin           Scope = "admin"        // keys, too
)

// DefaultProject is the project that a node starts with.
const DefaultProject = "prj_default"
