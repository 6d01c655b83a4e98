package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Trunk is a SIP peer that numbers are dialled through: a carrier, or a PBX. It is a resource: the store keeps it as this
// JSON.
type Trunk struct {
	ID        string        `json:"id"`
	ProjectID string        `json:"project_id,omitempty"`
	Name      string        `json:"name"`
	Targets   []TrunkTarget `json:"targets"`
	Auth      *TrunkAuth    `json:"auth,omitempty"`
	// Destinations are the numbers, or prefixes ending in "*", that may be dialled. Others are refused: whoever gets hold of a
	// key cannot call the most expensive numbers of the world.
	Destinations []string `json:"destinations"`
	// CallerIDs are the numbers that callers may show; any other is replaced by the first. Empty: what the caller says.
	CallerIDs []string `json:"caller_ids,omitempty"`
	// Identity says how the caller's number is asserted (RFC 3325): "pai", "rpid", or "" for From alone.
	Identity string `json:"identity,omitempty"`
	// NumberFormat is how numbers are written to the trunk: "e164" ("+4930…", the default), "digits" ("4930…").
	NumberFormat string            `json:"number_format,omitempty"`
	FromDomain   string            `json:"from_domain,omitempty"` // host of From; "": our address
	Headers      map[string]string `json:"headers,omitempty"`     // of each INVITE
	Codecs       []string          `json:"codecs,omitempty"`      // as Application.Codecs
	// AllowedIPs are addresses, or networks, whose calls come from this trunk.
	AllowedIPs     []string `json:"allowed_ips,omitempty"`
	MaxCalls       int      `json:"max_calls,omitempty"`        // at once, in and out; 0: no limit
	CallsPerSecond float64  `json:"calls_per_second,omitempty"` // that are begun, with bursts of as many; 0: no limit
	// FailoverMS is how long a target may say nothing to an INVITE before the next is asked; 0: 4000.
	FailoverMS int `json:"failover_ms,omitempty"`
	// PingS is how often its targets are asked whether they are there, by OPTIONS; 0: 30 s, -1: never.
	PingS int `json:"ping_s,omitempty"`
	// Register says that the trunk knows where we are by our registration, for calls to us.
	Register  bool         `json:"register,omitempty"`
	Status    *TrunkStatus `json:"status,omitempty"`     // as the API shows it; it is not kept
	CreatedAt string       `json:"created_at,omitempty"` // RFC 3339
	UpdatedAt string       `json:"updated_at,omitempty"`
}

// A TrunkTarget is one address of a trunk. Those of the lowest priority are asked first, in an order that their weights make
// (RFC 2782).
type TrunkTarget struct {
	URI      string `json:"uri"` // "sip:host", "sip:host:port;transport=tcp"
	Priority int    `json:"priority,omitempty"`
	Weight   int    `json:"weight,omitempty"` // 0: 1
}

// TrunkAuth answers the trunk's challenges.
type TrunkAuth struct {
	Username string `json:"username"`
	Password string `json:"password,omitempty"` // never shown again
}

// reaches is the length of the longest destination of the trunk that fits a number; -1 if none does.
func (t *Trunk) reaches(number string) int {
	best := -1
	for _, d := range t.Destinations {
		prefix, isPrefix := strings.CutSuffix(d, "*")
		if d == number || isPrefix && strings.HasPrefix(number, prefix) {
			best = max(best, len(d))
		}
	}
	return best
}

// PickTrunk is the trunk of a list that has the longest destination for a number: with an id, that one if it may. Of
// several that fit as well the first is taken.
func PickTrunk(trunks []Trunk, id, number string) (Trunk, *Error) {
	best, length, known := -1, -1, false
	for i := range trunks {
		if id != "" && trunks[i].ID != id {
			continue
		}
		known = true
		if n := trunks[i].reaches(number); n > length {
			best, length = i, n
		}
	}
	switch {
	case id != "" && !known:
		return Trunk{}, Invalid("/trunk_id", "there is no trunk %q", id)
	case best >= 0:
		return trunks[best], nil
	case known:
		return Trunk{}, &Error{
			Code: CodeDestinationDenied, Pointer: "/to",
			Message: "no trunk may dial " + number + ": its destinations have to name it, or a prefix of it such as +49*",
		}
	}
	return Trunk{}, &Error{Code: CodeNoRoute, Pointer: "/to", Message: "there is no trunk to dial " + number + " through: POST /v1/trunks makes one"}
}

// ParseNetwork reads an address or a network: "192.0.2.1", "192.0.2.0/24".
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// CallerID is the number that a caller shows on the trunk.
func (t *Trunk) CallerID(from Address) Address {
	if len(t.CallerIDs) == 0 || slices.Contains(t.CallerIDs, from.User()) {
		return from
	}
	return Address{URI: t.CallerIDs[0], Name: from.Name}
}

// trunkUse is what a trunk does now.
type trunkUse struct {
	calls  int
	tokens float64 // of calls per second
	last   time.Time
}

// takeTrunk counts a call of a trunk, until dropTrunk, or refuses it: a limit is reached.
func (e *Engine) takeTrunk(t *Trunk, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.trunks[t.ID]
	if u == nil {
		u = &trunkUse{tokens: max(t.CallsPerSecond, 1), last: now}
		e.trunks[t.ID] = u
	}
	if t.MaxCalls > 0 && u.calls >= t.MaxCalls {
		return Errorf(CodeCapacity, "the trunk %s has %d calls, its limit", t.Name, u.calls)
	}
	if t.CallsPerSecond > 0 {
		u.tokens = min(max(t.CallsPerSecond, 1), u.tokens+now.Sub(u.last).Seconds()*t.CallsPerSecond)
		u.last = now
		if u.tokens < 1 {
			return Errorf(CodeCapacity, "the trunk %s begins %g calls per second, its limit", t.Name, t.CallsPerSecond)
		}
		u.tokens--
	}
	u.calls++
	return nil
}

func (e *Engine) dropTrunk(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u := e.trunks[id]; u != nil {
		u.calls--
	}
}

// fromTrunk notes the trunk that a call came from, if it did.
func (e *Engine) fromTrunk(c *Call, in Incoming) error {
	source, err := netip.ParseAddrPort(in.Source)
	if err != nil {
		return nil //nolint:nilerr // of a page: it comes from no address
	}
	t, ok := e.o.Directory.TrunkFrom(context.Background(), source.Addr())
	if !ok || t.ProjectID != c.info.ProjectID {
		return nil
	}
	if err := e.takeTrunk(&t, time.Now()); err != nil {
		e.stats.refused.Add(1)
		return err
	}
	c.info.TrunkID = t.ID
	return nil
}

// leaveTrunk is a call that is over, or did not begin.
func (e *Engine) leaveTrunk(c *Call) {
	if c.info.TrunkID != "" {
		e.dropTrunk(c.info.TrunkID)
	}
}

// TrunkCalls is the number of calls of each trunk that had one.
func (e *Engine) TrunkCalls() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := make(map[string]int, len(e.trunks))
	for id, u := range e.trunks {
		calls[id] = u.calls
	}
	return calls
}

// throughTrunk finds the trunk of a call to a number, and what the caller shows there.
func (e *Engine) throughTrunk(spec *dialSpec, to Address, from *Address) (*Trunk, error) {
	if to.Scheme() != "tel" {
		if spec.TrunkID != "" {
			return nil, Invalid("/trunk_id", "only a number such as +4930123 is dialled through a trunk")
		}
		return nil, nil //nolint:nilnil // none is needed
	}
	t, refused := e.o.Directory.Trunk(context.Background(), spec.ProjectID, spec.TrunkID, to.User())
	if refused != nil {
		return nil, refused
	}
	*from = t.CallerID(*from)
	return &t, e.takeTrunk(&t, time.Now())
}
