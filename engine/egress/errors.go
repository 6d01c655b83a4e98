package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// Kind says in one word why a URL could not be had; events and deliveries show it to customers.
type Kind string

// The kinds.
const (
	KindURL            Kind = "invalid_url"     // not a URL that we can use
	KindPrivateAddress Kind = "private_address" // leads to an address that customers may not reach
	KindDNS            Kind = "dns"             // the name has no address
	KindRefused        Kind = "refused"         // nobody listens there
	KindTLS            Kind = "tls"             // the certificate or the handshake is bad
	KindTimeout        Kind = "timeout"
	KindRedirect       Kind = "redirect"  // a redirect that we do not follow
	KindStatus         Kind = "status"    // another status than 2xx (or 101)
	KindTooLarge       Kind = "too_large" // more than agreed
	KindEncoding       Kind = "encoding"  // a content coding that we did not ask for
	KindCanceled       Kind = "canceled"  // by us
	KindNetwork        Kind = "network"   // anything else between us and them
)

// Error is what went wrong with a URL. Its text names no path, query or credentials.
type Error struct {
	Kind   Kind
	Host   string // host, or host:port, if it matters
	Status int    // of HTTP, if there was a response
	Err    error  // the cause
}

func (e *Error) Error() string {
	if e.Host == "" {
		return string(e.Kind) + ": " + e.Err.Error()
	}
	return string(e.Kind) + ": " + e.Host + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of err: KindNetwork if it is no *Error, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindNetwork
}

// classify makes an *Error of what net/http and gorilla/websocket give. The text of a *url.Error names the whole URL
// and is not kept.
func classify(host string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Host == "" && host != "" {
			return &Error{Kind: e.Kind, Host: host, Status: e.Status, Err: e.Err}
		}
		return e
	}
	e := &Error{Kind: KindNetwork, Host: host, Err: innermost(err)}
	var (
		dns       *net.DNSError
		timeout   net.Error
		cert      *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind = KindCanceled
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		e.Kind = KindTimeout
	case errors.As(err, &dns):
		e.Kind = KindDNS
	case errors.As(err, &cert), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &authority),
		errors.As(err, &hostname), errors.As(err, &invalid), errors.Is(err, http.ErrSchemeMismatch):
		e.Kind = KindTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Kind = KindRefused
	}
	return e
}

// innermost drops the *url.Error around err, whose text has the URL in it.
func innermost(err error) error {
	for {
		u, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = u.Err
	}
}
