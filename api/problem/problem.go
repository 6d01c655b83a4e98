// Package problem turns errors into the problem details (RFC 9457) that customers see, over REST and in frames alike.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/tipring/tipring/engine"
)

// ContentType is the media type of Details (RFC 9457 3).
const ContentType = "application/problem+json"

// The codes that the API has beside the engine's.
const (
	CodeMalformed           engine.Code = "malformed_request"
	CodeUnauthorized        engine.Code = "unauthorized"
	CodeScopeMissing        engine.Code = "scope_missing"
	CodeOriginRefused       engine.Code = "origin_refused"
	CodeMethodNotAllowed    engine.Code = "method_not_allowed"
	CodeNotAcceptable       engine.Code = "not_acceptable"
	CodeTooLarge            engine.Code = "request_too_large"
	CodeMediaType           engine.Code = "unsupported_media_type"
	CodeIdempotencyMismatch engine.Code = "idempotency_mismatch"
	CodeIdempotencyRunning  engine.Code = "idempotency_in_progress"
	CodeRateLimited         engine.Code = "rate_limited"
	CodeUnavailable         engine.Code = "unavailable"
	CodeWebhookFailed       engine.Code = "webhook_failed"
)

// Details is a problem (RFC 9457 3.1) with our extensions code, request_id and errors.
type Details struct {
	Type      string      `json:"type"` // "/docs/errors/call_ended", relative to the server
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail,omitempty"`
	Instance  string      `json:"instance,omitempty"`
	Code      engine.Code `json:"code"`
	RequestID string      `json:"request_id,omitempty"`
	Errors    []Field     `json:"errors,omitempty"`
}

// Field is what is wrong with one value of the request.
type Field struct {
	Pointer string `json:"pointer"` // RFC 6901, into the request's body
	Detail  string `json:"detail"`
}

// From describes err. A context that ended is CodeTimeout. What else is not an *engine.Error is a fault of ours: its
// text stays inside, the customer gets a request id to ask with.
func From(err error, requestID string) Details {
	e, ok := errors.AsType[*engine.Error](err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return New(engine.CodeTimeout, requestID, "The command was not carried out in time. It may still take effect.")
	default:
		return New(engine.CodeInternal, requestID, "Something went wrong on our side. Ask the operator with the request_id.")
	}
	if e.Pointer == "" {
		return New(e.Code, requestID, e.Message)
	}
	return New(e.Code, requestID, e.Pointer+": "+e.Message, Field{Pointer: e.Pointer, Detail: e.Message})
}

// New makes the problem of a code. A code that is not in the table is CodeInternal.
func New(code engine.Code, requestID, detail string, fields ...Field) Details {
	doc, ok := Lookup(code)
	if !ok {
		doc, _ = Lookup(engine.CodeInternal)
	}
	return Details{
		Type: "/docs/errors/" + string(doc.Code), Title: doc.Title, Status: doc.Status, Detail: detail,
		Code: doc.Code, RequestID: requestID, Errors: fields,
	}
}

// Write sends the problem as the response. Headers that were set before stay.
func (d Details) Write(w http.ResponseWriter) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(d.Status)
	_, err = w.Write(body)
	return err
}
