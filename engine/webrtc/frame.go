package webrtc

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine"
)

// Codes of errors that pages get beside those of the engine.
const (
	codeBadSDP       engine.Code = "bad_sdp"
	codeTokenInvalid engine.Code = "token_invalid"
	codeTokenExpired engine.Code = "token_expired"
	codeRateLimited  engine.Code = "rate_limited"
	codeForbidden    engine.Code = "forbidden"
)

// frameIn is any frame of a page.
type frameIn struct {
	raw  json.RawMessage
	Type string `json:"type"` // hello, command, ping, pong

	// hello
	Token   string     `json:"token"` // renew too
	SDK     string     `json:"sdk"`
	Session string     `json:"session"`
	After   uint64     `json:"after"`
	Calls   []heldCall `json:"calls"`

	// command
	CommandID    string                 `json:"command_id"`
	Action       string                 `json:"action"`
	CallID       string                 `json:"call_id"`
	To           string                 `json:"to"`
	SDP          string                 `json:"sdp"`
	Headers      map[string]string      `json:"headers"`
	ClientState  string                 `json:"client_state"`
	RingTimeoutS int                    `json:"ring_timeout_s"`
	Resume       string                 `json:"resume"`
	Cause        string                 `json:"cause"`
	Digits       string                 `json:"digits"`
	On           bool                   `json:"on"`
	Candidate    *pion.ICECandidateInit `json:"candidate"`
	pageStats
}

// heldCall is a call that a page says it has, in its hello.
type heldCall struct {
	CallID string `json:"call_id"`
	Resume string `json:"resume,omitempty"`
	Alive  bool   `json:"alive"`
}

// pageStats are a page's own figures of a call.
type pageStats struct {
	RoundTripMS float64 `json:"rtt_ms"`
	JitterMS    float64 `json:"jitter_ms"`
	LossPercent float64 `json:"loss_pct"`
	MOS         float64 `json:"mos"`
	Codec       string  `json:"codec"`
}

// Frames of ours.
type (
	welcome struct {
		Type       string      `json:"type"` // "welcome"
		Session    string      `json:"session"`
		Identity   string      `json:"identity"`
		ExpiresAt  time.Time   `json:"expires_at"`
		HeartbeatS int         `json:"heartbeat_s"`
		Incoming   bool        `json:"incoming"`
		Outgoing   []string    `json:"outgoing"`
		ICEServers []ICEServer `json:"ice_servers"`
		Nodes      []string    `json:"nodes"`
		Calls      []heldCall  `json:"calls"`
	}
	reply struct {
		Type      string     `json:"type"` // "reply"
		CommandID string     `json:"command_id"`
		Status    string     `json:"status"` // "accepted", "error"
		CallID    string     `json:"call_id,omitempty"`
		SDP       string     `json:"sdp,omitempty"`
		Resume    string     `json:"resume,omitempty"`
		ExpiresAt *time.Time `json:"expires_at,omitempty"`
		Error     *problem   `json:"error,omitempty"`
	}
	// problem has the members of RFC 9457 that say something here.
	problem struct {
		Type   string      `json:"type"`
		Title  string      `json:"title"`
		Code   engine.Code `json:"code"`
		Detail string      `json:"detail"`
	}
	eventFrame struct {
		Type     string `json:"type"` // "event"
		Sequence uint64 `json:"sequence"`
		Event    event  `json:"event"`
	}
	event struct {
		Type      string         `json:"type"`
		CallID    string         `json:"call_id,omitempty"`
		Timestamp time.Time      `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}
	errorFrame struct {
		Type  string   `json:"type"` // "error"
		Error *problem `json:"error"`
	}
	bareFrame struct {
		Type string `json:"type"` // "ping", "pong"
	}
)

// ICEServer is a STUN or TURN server that pages are told to use.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// decode reads a frame. Unknown members are left alone: a page may be newer than we are.
func decode(b []byte) (*frameIn, error) {
	f := &frameIn{raw: b}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(f); err != nil {
		return nil, engine.Errorf(engine.CodeValidation, "a frame is one JSON object: %v", err)
	}
	switch f.Type {
	case "hello", "command", "ping", "pong":
	default:
		return nil, engine.Invalid("/type", "there is no frame of type %.40q", f.Type)
	}
	if len(f.CommandID) > 64 || len(f.CallID) > 128 || len(f.To) > 512 || len(f.Headers) > 32 || len(f.ClientState) > 4096 {
		return nil, engine.Invalid("/", "a member of the frame is longer than it may be")
	}
	return f, nil
}

// problemOf is err as pages get it: what is not for them is "internal".
func problemOf(err error) *problem {
	code := engine.ErrorCode(err)
	detail := "this node failed; its log says why"
	if e, ok := errors.AsType[*engine.Error](err); ok {
		detail = e.Message
		if e.Pointer != "" {
			detail = e.Pointer + " " + detail
		}
	}
	return &problem{Type: "/docs/errors/" + string(code), Title: string(code), Code: code, Detail: detail}
}
