package engine

import (
	"context"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// A Leg is the wire side of one call. Packages sip and webrtc implement it; the engine steers it. All methods may be
// called from any goroutine; only SendDTMF blocks. A request that the leg's state does not allow gives an *Error
// with CodeInvalidState; what goes wrong later arrives as a Signal.
type Leg interface {
	// Ring tells an inbound caller that we ring (180), or with early lets him hear us before the answer (183 with
	// SDP). It may be called several times.
	Ring(ctx context.Context, early bool) error
	// Answer takes an inbound call. SignalAnswered follows when the far end has confirmed it (ACK).
	Answer(ctx context.Context) error
	// Hangup ends the leg by what fits its state: a final response (c.SIPStatus, else derived from c.Reason), CANCEL
	// or BYE. SignalEnded follows at once; the leg finishes its transactions on its own.
	Hangup(ctx context.Context, c Cause) error
	// Hold puts the far end on hold or takes it back (a re-INVITE with sendonly, or sendrecv).
	Hold(ctx context.Context, on bool) error
	// SendDTMF keys digits ("0-9*#A-D", 'w' waits 500 ms) and returns when the last was sent.
	SendDTMF(ctx context.Context, digits string) error
	// Audio is the leg's line, the same one all its life.
	Audio() media.Line
	// Signals is what the far end does. It is closed after SignalEnded.
	Signals() <-chan Signal
	// State is what a Dialer needs to Resume the leg on another node.
	State() []byte
}

// A Preferrer is a Leg whose codec can be chosen until it is answered. Prefer names the codecs that an inbound call may
// take, best first, as Application.Codecs does; a CodeUnsupported error says that the far end offers none of them.
type Preferrer interface{ Prefer(codecs []string) error }

// A Dialer makes outbound legs for the address schemes it is registered for.
type Dialer interface {
	// Dial returns at once; progress arrives as Signals. An error means that nothing was sent.
	Dial(ctx context.Context, out Outgoing) (Leg, error)
	// Resume takes over a leg from the state that Leg.State gave.
	Resume(ctx context.Context, state []byte) (Leg, error)
}

// Outgoing describes a leg to dial.
type Outgoing struct {
	ProjectID   string // whose call it is
	Key         string // of the session: legs with one key share a media thread, and Call-IDs begin with it
	CallID      string // of the engine, for logs
	From, To    Address
	Headers     map[string]string // custom headers; standard headers of SIP are refused
	Credentials *Credentials      // to answer a digest challenge
	Trunk       *Trunk            // to dial a number through
	Codecs      []string          // to offer, in this order and no others; empty: the door's own
}

// Credentials answer a digest challenge (RFC 3261 22).
type Credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Incoming describes a leg that arrived.
type Incoming struct {
	From, To  Address
	Headers   map[string]string // the request's headers that are not SIP's own machinery, name in canonical form
	SIPCallID string
	Source    string // "ip:port"
	Key       string // of the session: RTP placement; the session's id is derived from it
	// Application runs the call, whatever number was called; nil: the number's.
	Application *Application
}

// A Signal is one thing that the far end did.
type Signal struct {
	Kind  SignalKind
	Digit dtmf.Digit // SignalDigit
	Cause *Cause     // SignalEnded; nil elsewhere
	// Status is the SIP status of a progress signal, such as 180; 0 elsewhere.
	Status int
	At     time.Time
}

// SignalKind is what happened.
type SignalKind uint8

// The kinds of Signal.
const (
	SignalRinging    SignalKind = iota + 1 // outbound: 180
	SignalEarlyMedia                       // outbound: the far end is heard before it answers
	SignalAnswered                         // outbound: 2xx; inbound: ACK
	SignalDigit                            // a key was pressed
	SignalHeld                             // the far end put us on hold
	SignalUnheld                           // and took us back
	SignalMediaLost                        // no packet for long, though none of us holds
	SignalMediaBack                        //
	SignalEnded                            // the leg is over; the channel is closed next
)

// Source says who ended a call.
type Source string

// Who ends calls.
const (
	SourceCaller Source = "caller"
	SourceCallee Source = "callee"
	SourceApp    Source = "app"
	SourceSystem Source = "system"
)

// Reason is why a call ended, in the field's words.
type Reason string

// The reasons.
const (
	ReasonNormal       Reason = "normal"
	ReasonBusy         Reason = "busy"
	ReasonNoAnswer     Reason = "no_answer"
	ReasonRejected     Reason = "rejected"
	ReasonCancelled    Reason = "cancelled" // the caller gave up, or another leg answered
	ReasonNotFound     Reason = "not_found"
	ReasonUnreachable  Reason = "unreachable"
	ReasonUnavailable  Reason = "unavailable" // temporarily
	ReasonNoCodec      Reason = "incompatible_media"
	ReasonForbidden    Reason = "forbidden" // refused, or credentials wrong
	ReasonMaxDuration  Reason = "max_duration"
	ReasonNoACK        Reason = "no_ack"
	ReasonSessionTimer Reason = "session_expired"
	ReasonMediaTimeout Reason = "media_timeout"
	ReasonIdle         Reason = "instructions_completed" // the program ran out
	ReasonAppFailed    Reason = "application_failed"
	ReasonNodeLost     Reason = "node_lost"
	ReasonInternal     Reason = "internal"
)

// Cause is why and by whom a call ended.
type Cause struct {
	Reason    Reason            `json:"cause"`
	Source    Source            `json:"source,omitempty"`
	SIPStatus int               `json:"sip_status,omitempty"`
	Q850      int               `json:"q850,omitempty"`
	Text      string            `json:"text,omitempty"` // the peer's reason phrase or Reason header text
	Headers   map[string]string `json:"-"`              // to send with a rejection
}
