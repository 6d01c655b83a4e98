package engine

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"time"
)

// A Rejection is an INVITE that was refused before it was a call.
type Rejection struct {
	Rule      Rule
	SIPStatus int
	Detail    string
	From, To  string // URIs
	Source    string // "ip:port"
	SIPCallID string
}

// Rule is why a call is taken, or refused.
type Rule string

// The rules. Only the first takes a call.
const (
	RuleNumber       Rule = "number"        // a number leads it to an application
	RuleNoNumber     Rule = "no_number"     // no number fits
	RuleOtherProject Rule = "other_project" // the number is another project's
	RuleLimit        Rule = "limit"         // a limit of the node or of its trunk is reached
	RuleDraining     Rule = "draining"      // the node is stopping
	RuleNoCodec      Rule = "no_codec"      // nothing is offered that we speak, or that the application takes
	RuleMalformed    Rule = "malformed"     // the request cannot be read
	RuleUnsupported  Rule = "unsupported"   // it requires what we do not do
	RuleFault        Rule = "fault"         // of ours: the log has it
)

// RuleOf is the rule behind an error of Accept.
func RuleOf(err error) Rule {
	switch ErrorCode(err) {
	case CodeNoRoute, CodeNotFound:
		return RuleNoNumber
	case CodeCapacity:
		return RuleLimit
	case CodeDraining:
		return RuleDraining
	case CodeUnsupported:
		return RuleNoCodec
	case CodeValidation:
		return RuleMalformed
	default:
		return RuleFault
	}
}

// Limits of call.rejected events: scanners try thousands of numbers.
const (
	rejectionRate  = 5.0 // per second
	rejectionBurst = 50.0
)

// rejections lets some rejections through and counts the others.
type rejections struct {
	mu         sync.Mutex
	tokens     float64
	last       time.Time
	suppressed int
}

// take tells whether one may be told, and how many were not since the last.
func (r *rejections) take(now time.Time) (suppressed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		r.tokens = rejectionBurst
	}
	r.tokens = min(rejectionBurst, r.tokens+now.Sub(r.last).Seconds()*rejectionRate)
	r.last = now
	if r.tokens < 1 {
		r.suppressed++
		return 0, false
	}
	r.tokens--
	suppressed, r.suppressed = r.suppressed, 0
	return suppressed, true
}

// TellRejection publishes call.rejected, to the project of the trunk that it came from, else to Options.Project. Of a flood some
// are told, with how many were not.
func (e *Engine) TellRejection(r Rejection) {
	suppressed, ok := e.rejections.take(time.Now())
	if !ok {
		return
	}
	project, data := e.o.Project, map[string]any{
		"rule": r.Rule, "sip_status": r.SIPStatus, "detail": r.Detail, "from": r.From, "to": r.To,
		"source": r.Source, "sip_call_id": r.SIPCallID,
	}
	if suppressed > 0 {
		data["suppressed"] = suppressed
	}
	if a, err := netip.ParseAddrPort(r.Source); err == nil {
		if t, ok := e.o.Directory.TrunkFrom(context.Background(), a.Addr()); ok {
			project, data["trunk_id"] = t.ProjectID, t.ID
		}
	}
	raw, err := json.Marshal(data)
	if err != nil { // only strings and numbers of ours are put there
		return
	}
	e.o.Sink.Publish(Event{
		ID: e.o.NewID("evt"), Type: "call.rejected", Timestamp: time.Now().UTC(), ProjectID: project, Node: e.o.Node, Data: raw,
	})
}

// A Diagnosis is what would become of an inbound call.
type Diagnosis struct {
	Taken         bool   `json:"taken"`
	Rule          Rule   `json:"rule"`
	Detail        string `json:"detail"`
	Number        string `json:"number,omitempty"` // that fits, as it is configured
	NumberID      string `json:"number_id,omitempty"`
	ApplicationID string `json:"application_id,omitempty"`
	Application   string `json:"application,omitempty"` // its name
	TrunkID       string `json:"trunk_id,omitempty"`    // that it would come from
}

// Diagnose says what would become of a call to an address, or a number, from a source; nothing is called.
func (e *Engine) Diagnose(ctx context.Context, project, to string, source netip.Addr) Diagnosis {
	var d Diagnosis
	if a, err := ParseAddress(to); err == nil {
		to = a.User()
	}
	if t, ok := e.o.Directory.TrunkFrom(ctx, source); ok && t.ProjectID == project {
		d.TrunkID = t.ID
		if n := e.TrunkCalls()[t.ID]; t.MaxCalls > 0 && n >= t.MaxCalls {
			d.Rule, d.Detail = RuleLimit, "the trunk "+t.Name+" has as many calls as it may have"
			return d
		}
	}
	number, ok := e.o.Directory.Match(ctx, to)
	switch {
	case !ok:
		d.Rule, d.Detail = RuleNoNumber, "no number fits "+to+": POST /v1/numbers maps one to an application"
		return d
	case number.ProjectID != project:
		d.Rule, d.Detail = RuleOtherProject, "a number of another project takes it"
		return d
	}
	d.Number, d.NumberID, d.ApplicationID = number.Number, number.ID, number.ApplicationID
	app, ok := e.o.Directory.Application(ctx, project, number.ApplicationID)
	if !ok {
		d.Rule, d.Detail = RuleNoNumber, "the application of the number "+number.Number+" is gone"
		return d
	}
	d.Application = app.Name
	st := e.Stats()
	switch {
	case st.Draining:
		d.Rule, d.Detail = RuleDraining, "this node is stopping and takes no new calls"
	case e.o.MaxCalls > 0 && st.Active >= e.o.MaxCalls:
		d.Rule, d.Detail = RuleLimit, "this node has as many calls as it may have"
	default:
		d.Taken, d.Rule, d.Detail = true, RuleNumber, "the number "+number.Number+" leads it to the application "+app.Name
	}
	return d
}
