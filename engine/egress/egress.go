// Package egress has the HTTP and WebSocket clients for URLs that customers give us: they reach no address that the
// operator did not allow, take no redirect unchecked, and read no more than agreed.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// Options of a Client. The zero value is right for production.
type Options struct {
	// AllowPrivate admits every address. For development, and for closed networks.
	AllowPrivate bool
	// Allow admits these networks although they are private.
	Allow []netip.Prefix
	// Timeout is for a whole request with its body; 0: 15 s. A context may shorten it.
	Timeout time.Duration
	// DialTimeout is for a connection, the name's look-up included; 0: 5 s.
	DialTimeout time.Duration
	// MaxBytes is how much of a body Fetch takes; 0: 20 MiB.
	MaxBytes int64
	// MaxRedirects is how many redirects Fetch follows; 0: 3, negative: none.
	MaxRedirects int
	// UserAgent is sent with every request; "": "Tipring".
	UserAgent string
	// Resolver looks up names; nil: the system's.
	Resolver *net.Resolver
	// TLS is the base of TLS configurations; nil: the system's roots.
	TLS *tls.Config
}

// A Client reaches URLs that customers gave us. Its methods may be called from any goroutine. Their errors are *Error.
type Client struct {
	o         Options
	dialer    *net.Dialer
	transport *http.Transport
	calls     *http.Client // takes no redirect
	fetches   *http.Client // takes a few
}

// New makes a Client. CloseIdle frees its idle connections.
func New(o Options) *Client {
	o = withDefaults(o)
	c := &Client{o: o}
	c.dialer = &net.Dialer{
		Timeout: o.DialTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error { return c.admit(address) },
	}
	c.transport = &http.Transport{
		Proxy:                  nil, // a proxy from the environment would connect in our place, unchecked
		DialContext:            c.dialer.DialContext,
		TLSClientConfig:        c.tls(),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is not compressed cannot blow up
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    o.DialTimeout,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	agent := userAgent{next: c.transport, name: o.UserAgent}
	c.calls = &http.Client{Transport: agent, Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	c.fetches = &http.Client{Transport: agent, Timeout: o.Timeout, CheckRedirect: c.checkRedirect}
	return c
}

func withDefaults(o Options) Options {
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Second
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 20 << 20
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 3
	}
	if o.UserAgent == "" {
		o.UserAgent = "Tipring"
	}
	return o
}

func (c *Client) tls() *tls.Config {
	if c.o.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return c.o.TLS.Clone()
}

// admit is asked with the address that is about to be connected, after every look-up: a name cannot change its mind in
// between.
func (c *Client) admit(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Kind: KindPrivateAddress, Err: fmt.Errorf("no address: %w", err)}
	}
	if !c.Admits(to.Addr()) {
		return &Error{Kind: KindPrivateAddress, Err: errors.New("the address is not public")}
	}
	return nil
}

// Admits reports whether addr may be connected.
func (c *Client) Admits(addr netip.Addr) bool {
	if c.o.AllowPrivate || Public(addr) {
		return true
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range c.o.Allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Check says what can be said of a URL before it is used: that it has one of the schemes ("http", "https"; "ws",
// "wss"), a host, and no literal address that is not admitted.
func (c *Client) Check(rawURL string, schemes ...string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return &Error{Kind: KindURL, Err: errors.New("not a URL")}
	}
	return c.check(u, schemes...)
}

func (c *Client) check(u *url.URL, schemes ...string) error {
	known := false
	for _, s := range schemes {
		known = known || u.Scheme == s
	}
	host := u.Hostname()
	if !known || host == "" {
		return &Error{Kind: KindURL, Err: fmt.Errorf("needs %s:// and a host", strings.Join(schemes, ":// or "))}
	}
	if addr, err := netip.ParseAddr(host); err == nil && !c.Admits(addr) {
		return &Error{Kind: KindPrivateAddress, Host: host, Err: errors.New("the address is not public")}
	}
	if !c.o.AllowPrivate && len(c.o.Allow) == 0 && isLocalName(host) {
		return &Error{Kind: KindPrivateAddress, Host: host, Err: errors.New("the name is this machine's")}
	}
	return nil
}

func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Do sends a request and takes no redirect: a 3xx is the response. The body is the caller's to limit (Read) and close.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if err := c.check(req.URL, "http", "https"); err != nil {
		return nil, err
	}
	res, err := c.calls.Do(req) //nolint:gosec // G704: this is the guard, admit checks where it goes
	if err != nil {
		return nil, classify(req.URL.Host, err)
	}
	return res, nil
}

// Read reads a body up to limit bytes; more is an *Error of KindTooLarge, with the first limit bytes.
func Read(body io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if int64(len(b)) > limit {
		return b[:limit], &Error{Kind: KindTooLarge, Err: fmt.Errorf("over %d bytes", limit)}
	}
	if err != nil {
		return b, classify("", err)
	}
	return b, nil
}

// Fetch gets a file, following a few redirects, each checked like the first URL. It takes 2xx with at most
// Options.MaxBytes of body and no content coding.
func (c *Client) Fetch(ctx context.Context, rawURL string) (data []byte, contentType string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, "", &Error{Kind: KindURL, Err: errors.New("not a URL")}
	}
	if err := c.check(req.URL, "http", "https"); err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept-Encoding", "identity")
	res, err := c.fetches.Do(req)
	if err != nil {
		return nil, "", classify(req.URL.Host, err)
	}
	defer func() { _ = res.Body.Close() }()
	host := res.Request.URL.Host
	switch coding := res.Header.Get("Content-Encoding"); {
	case res.StatusCode/100 == 3:
		return nil, "", &Error{Kind: KindRedirect, Host: host, Status: res.StatusCode, Err: errors.New("leads nowhere")}
	case res.StatusCode/100 != 2:
		return nil, "", &Error{Kind: KindStatus, Host: host, Status: res.StatusCode, Err: fmt.Errorf("answers %d", res.StatusCode)}
	case coding != "" && !strings.EqualFold(coding, "identity"):
		return nil, "", &Error{Kind: KindEncoding, Host: host, Err: fmt.Errorf("content coding %.20q was not asked for", coding)}
	case res.ContentLength > c.o.MaxBytes:
		return nil, "", &Error{Kind: KindTooLarge, Host: host, Err: fmt.Errorf("%d bytes are over %d", res.ContentLength, c.o.MaxBytes)}
	}
	data, err = Read(res.Body, c.o.MaxBytes)
	if err != nil {
		return nil, "", classify(host, err)
	}
	return data, res.Header.Get("Content-Type"), nil
}

func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > max(c.o.MaxRedirects, 0) {
		return &Error{Kind: KindRedirect, Host: req.URL.Host, Err: fmt.Errorf("over %d redirects", max(c.o.MaxRedirects, 0))}
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &Error{Kind: KindRedirect, Host: req.URL.Host, Err: errors.New("leads from https to something less")}
	}
	return c.check(req.URL, "http", "https")
}

// DialWebSocket opens a WebSocket (RFC 6455) to a ws:// or wss:// URL. readLimit is for a message, in bytes.
func (c *Client) DialWebSocket(ctx context.Context, rawURL string, header http.Header, readLimit int64) (*websocket.Conn, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &Error{Kind: KindURL, Err: errors.New("not a URL")}
	}
	if err := c.check(u, "ws", "wss"); err != nil {
		return nil, err
	}
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("User-Agent", c.o.UserAgent)
	if u.User != nil { // gorilla refuses userinfo in a URL
		password, _ := u.User.Password()
		r := http.Request{Header: header}
		r.SetBasicAuth(u.User.Username(), password)
		u.User = nil
	}
	d := websocket.Dialer{
		NetDialContext: c.dialer.DialContext, TLSClientConfig: c.tls(), HandshakeTimeout: c.o.Timeout,
		ReadBufferSize: 4096, WriteBufferSize: 4096,
	}
	conn, res, err := d.DialContext(ctx, u.String(), header)
	if res != nil {
		defer func() { _ = res.Body.Close() }()
	}
	switch {
	case err == nil:
		conn.SetReadLimit(readLimit)
		return conn, nil
	case res != nil && res.StatusCode/100 == 3:
		return nil, &Error{Kind: KindRedirect, Host: u.Host, Status: res.StatusCode, Err: err}
	case res != nil:
		err = fmt.Errorf("answers %d: %w", res.StatusCode, err)
		return nil, &Error{Kind: KindStatus, Host: u.Host, Status: res.StatusCode, Err: err}
	}
	return nil, classify(u.Host, err)
}

// CloseIdle closes connections that nobody uses.
func (c *Client) CloseIdle() { c.transport.CloseIdleConnections() }

// userAgent names us in requests that do not name themselves.
type userAgent struct {
	next http.RoundTripper
	name string
}

// RoundTrip implements http.RoundTripper.
func (u userAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", u.name)
	}
	return u.next.RoundTrip(req)
}
