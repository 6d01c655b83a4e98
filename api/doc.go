// Package api is the customers' REST door: it turns requests that fit openapi.yaml into commands and resources.
//
// The way of a request: the router finds the operation of openapi.yaml; the chain of operation.go authenticates,
// limits the rate, reads and validates the body, and looks for an answer given before under the same Idempotency-Key;
// the generated code (api.gen.go) decodes it; a method of handlers, one file per resource, does it, by
// Commander.Do or the session.Store. What fails becomes problem details (RFC 9457) in errors.go.
package api
