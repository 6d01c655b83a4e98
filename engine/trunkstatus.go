package engine

import (
	"encoding/json"
	"slices"
	"time"
)

// TrunkStatus is how a trunk is now.
type TrunkStatus struct {
	Targets         []TargetStatus `json:"targets"`
	Registration    Registration   `json:"registration,omitempty"` // "": none is wanted, or none was tried yet
	RegisteredUntil *time.Time     `json:"registered_until,omitempty"`
	SIPStatus       int            `json:"sip_status,omitempty"` // of the last REGISTER
	Calls           int            `json:"calls"`
}

// TargetStatus is how a target of a trunk is now.
type TargetStatus struct {
	URI         string      `json:"uri"`
	State       TargetState `json:"state"`
	SIPStatus   int         `json:"sip_status,omitempty"` // of the last OPTIONS
	RoundTripMS float64     `json:"round_trip_ms,omitempty"`
}

// TargetState says whether a target answers.
type TargetState string

// The states of a target.
const (
	TrunkUnknown TargetState = "unknown" // it was not asked yet
	TrunkUp      TargetState = "up"
	TrunkDown    TargetState = "down"
)

// Registration says whether a trunk has registered us.
type Registration string

// The states of a registration.
const (
	Registered         Registration = "registered"
	RegistrationFailed Registration = "failed"
)

// Clone is a copy that shares nothing.
func (s TrunkStatus) Clone() TrunkStatus {
	s.Targets = slices.Clone(s.Targets)
	return s
}

// TrunkChange is what happened to a trunk: an event type.
type TrunkChange string

// The changes.
const (
	TrunkIsUp               TrunkChange = "trunk.up"
	TrunkIsDown             TrunkChange = "trunk.down"
	TrunkRegistered         TrunkChange = "trunk.registered"
	TrunkRegistrationFailed TrunkChange = "trunk.registration_failed"
)

// TellTrunk publishes what happened to a trunk.
func (e *Engine) TellTrunk(t Trunk, change TrunkChange, data map[string]any) {
	data["trunk_id"], data["name"] = t.ID, t.Name
	raw, err := json.Marshal(data)
	if err != nil { // only strings and numbers of ours are put there
		return
	}
	e.o.Sink.Publish(Event{
		ID: e.o.NewID("evt"), Type: string(change), Timestamp: time.Now().UTC(), ProjectID: t.ProjectID, Node: e.o.Node, Data: raw,
	})
}
