package webhook

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// State is where a delivery stands.
type State string

// The states.
const (
	StatePending   State = "pending"   // it will be tried again
	StateDelivered State = "delivered" // the endpoint took the event
	StateFailed    State = "failed"    // given up
	StateDropped   State = "dropped"   // the endpoint is gone, or disabled
)

// Delivery is the way of one event to one endpoint; KindDelivery items hold it as JSON.
type Delivery struct {
	ID            string     `json:"id"` // "whd_…"
	EventID       string     `json:"event_id"`
	EventType     string     `json:"event_type"`
	CallID        string     `json:"call_id,omitempty"`
	ApplicationID string     `json:"application_id,omitempty"`
	URL           string     `json:"url"` // without user, password and query
	State         State      `json:"state"`
	Error         string     `json:"error,omitempty"` // of the last try, or what is wrong with the answer
	Attempts      []Attempt  `json:"attempts"`        // oldest first; of many the first and the last
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`

	// What redelivery needs. Endpoint tells the application's webhook from a call's own.
	Project  string        `json:"project_id,omitempty"`
	Endpoint endpoint      `json:"endpoint"`
	Sequence uint64        `json:"sequence,omitempty"`
	Event    *engine.Event `json:"event,omitempty"` // of events that belong to no call
}

// Attempt is one try.
type Attempt struct {
	At        time.Time `json:"at"`
	URL       string    `json:"url,omitempty"` // if it is not the delivery's: the fallback
	Status    int       `json:"status,omitempty"`
	LatencyMS int64     `json:"latency_ms"`
	Error     string    `json:"error,omitempty"`    // egress.Kind
	Response  string    `json:"response,omitempty"` // the first 2 KiB
}

const (
	maxAttempts = 6 // kept of a delivery
	maxExcerpt  = 2 << 10
)

// newDelivery begins the delivery of e.
func newDelivery(id string, e *engine.Event, ep endpoint, rawURL string, now time.Time) *Delivery {
	d := &Delivery{
		ID: id, EventID: e.ID, EventType: e.Type, CallID: e.CallID, ApplicationID: e.ApplicationID, URL: maskURL(rawURL),
		State: StatePending, Attempts: []Attempt{}, CreatedAt: now, UpdatedAt: now,
		Project: e.ProjectID, Endpoint: ep, Sequence: e.Sequence,
	}
	if e.CallID == "" {
		plain := *e
		plain.Answer, plain.Call = nil, nil
		d.Event = &plain
	}
	return d
}

// add notes a try.
func (d *Delivery) add(a Attempt) {
	if len(d.Attempts) == maxAttempts {
		d.Attempts = append(d.Attempts[:1], d.Attempts[2:]...)
	}
	d.Attempts = append(d.Attempts, a)
	d.Error = a.Error
}

// settle notes what became of it.
func (d *Delivery) settle(s State, next, now time.Time) {
	d.State, d.UpdatedAt, d.NextAttemptAt = s, now, nil
	if !next.IsZero() {
		d.NextAttemptAt = &next
	}
}

// maskURL leaves out what may be secret.
func maskURL(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// excerpt is the beginning of a body as valid text.
func excerpt(body []byte) string {
	s := strings.ToValidUTF8(string(body[:min(len(body), maxExcerpt)]), "\uFFFD")
	for len(s) > maxExcerpt || !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s[:maxExcerpt], "")
	}
	return s
}

// ledger collects deliveries to write, the newest state of each. It may be used from any goroutine.
type ledger struct {
	retain time.Duration
	lost   atomic.Uint64 // deliveries that found it full

	mu      sync.Mutex
	pending map[string]session.Item
}

// maxLedger bounds what waits to be written: some seconds' worth.
const maxLedger = 16_384

func newLedger(retain time.Duration) *ledger {
	return &ledger{retain: retain, pending: make(map[string]session.Item)}
}

func (l *ledger) put(d *Delivery) {
	value, err := json.Marshal(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.pending[d.ID]; err != nil || !known && len(l.pending) >= maxLedger {
		l.lost.Add(1)
		return
	}
	l.pending[d.ID] = session.Item{
		Kind: session.KindDelivery, Project: d.Project, ID: d.ID, Value: value, Expires: d.UpdatedAt.Add(l.retain),
	}
}

// take empties the ledger.
func (l *ledger) take() []session.Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	items := make([]session.Item, 0, len(l.pending))
	for _, it := range l.pending {
		items = append(items, it)
	}
	clear(l.pending)
	return items
}

func (l *ledger) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) == 0
}
