package transaction

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

const (
	transportUDP = "UDP"
	transportTCP = "TCP"

	defaultPort = 5060
	maxRoutes   = 1024 // remembered local addresses
	maxLookups  = 256  // names that are looked up at a time
)

// ErrTransportUnsupported says that a URI asks for a transport that we do not have, such as TLS.
var ErrTransportUnsupported = errors.New("transaction: transport not supported")

// ErrUnresolved says that no address was found for a URI.
var ErrUnresolved = errors.New("transaction: host not found")

// Target says where a request goes. A TCP connection to Addr that is open, whoever opened it, is used.
type Target struct {
	Transport string // "UDP" or "TCP"; "" is UDP
	Addr      netip.AddrPort
}

func (t Target) normal() Target {
	t.Transport = sip.ASCIIToUpper(t.Transport)
	if t.Transport == "" {
		t.Transport = transportUDP
	}
	t.Addr = netip.AddrPortFrom(t.Addr.Addr().Unmap(), t.Addr.Port())
	return t
}

func (t Target) check() error {
	if tp := t.normal().Transport; tp != transportUDP && tp != transportTCP {
		return fmt.Errorf("%w: %q", ErrTransportUnsupported, t.Transport)
	}
	if !t.Addr.IsValid() || t.Addr.Port() == 0 {
		return fmt.Errorf("%w: %q is no target", ErrUnresolved, t.Addr)
	}
	return nil
}

// Resolve finds the Target of a URI: transport parameter (default UDP), port (default 5060), maddr or host. It does
// not block: for an IP address cb is called before Resolve returns, for a name by another goroutine. Errors are
// ErrUnresolved and ErrTransportUnsupported. SRV is not looked up: see Services.
func (l *Layer) Resolve(ctx context.Context, uri sip.Uri, cb func(Target, error)) {
	host, target, err := destination(uri)
	if err != nil {
		cb(Target{}, err)
		return
	}
	port := target.Addr.Port()
	if ip, err := netip.ParseAddr(host); err == nil {
		target.Addr = netip.AddrPortFrom(ip.Unmap(), port)
		cb(target, nil)
		return
	}
	select {
	case l.lookups <- struct{}{}:
	default:
		cb(Target{}, fmt.Errorf("%w: too many look-ups at a time", ErrUnresolved))
		return
	}
	started := l.begin(func() {
		ips, err := l.lookUp(ctx, host)
		<-l.lookups
		switch {
		case err != nil:
			cb(Target{}, fmt.Errorf("%w: %s: %w", ErrUnresolved, host, err))
			return
		case len(ips) == 0:
			cb(Target{}, fmt.Errorf("%w: %s has no address", ErrUnresolved, host))
			return
		}
		target.Addr = netip.AddrPortFrom(l.preferred(ips), port)
		cb(target, nil)
	})
	if !started {
		<-l.lookups
		cb(Target{}, ErrClosed)
	}
}

// destination reads from a URI what there is to look up; the address of the target holds the port alone.
func destination(uri sip.Uri) (host string, target Target, err error) {
	switch {
	case uri.IsEncrypted():
		return "", target, fmt.Errorf("%w: sips", ErrTransportUnsupported)
	case uri.Scheme != "" && uri.Scheme != "sip":
		return "", target, fmt.Errorf("%w: scheme %q", ErrUnresolved, uri.Scheme)
	}
	tp, _ := param(uri.UriParams, "transport")
	target.Transport = sip.ASCIIToUpper(tp)
	if target.Transport == "" {
		target.Transport = transportUDP
	}
	if target.Transport != transportUDP && target.Transport != transportTCP {
		return "", target, fmt.Errorf("%w: %q", ErrTransportUnsupported, tp)
	}
	host = uri.Host
	if maddr, ok := param(uri.UriParams, "maddr"); ok && maddr != "" {
		host = maddr
	}
	host = strings.Trim(host, "[]")
	if host == "" || uri.Port < 0 || uri.Port > 65535 {
		return "", target, fmt.Errorf("%w: no host", ErrUnresolved)
	}
	port := uri.Port
	if port == 0 {
		port = defaultPort
	}
	target.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port))
	return host, target, nil
}

// param looks a URI parameter up by name, whatever its case (RFC 3261 7.3.1).
func param(params sip.HeaderParams, name string) (string, bool) {
	for _, p := range params {
		if strings.EqualFold(p.K, name) {
			return p.V, true
		}
	}
	return "", false
}

func (l *Layer) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	if l.options.Resolve != nil {
		return l.options.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// preferred is the first address of the family that our socket can reach, IPv4 before IPv6.
func (l *Layer) preferred(ips []netip.Addr) netip.Addr {
	best := ips[0].Unmap()
	local := l.local.Addr()
	for _, ip := range ips {
		ip = ip.Unmap()
		if ip.Is4() && !best.Is4() && (local.Is4() || local.IsUnspecified()) {
			best = ip
		}
		if ip.Is6() && best.Is4() && local.Is6() && !local.IsUnspecified() {
			best = ip
		}
	}
	return best
}

// Contact is our address for the peer at to, without a user.
func (l *Layer) Contact(to Target) sip.Uri {
	to = to.normal()
	host, port := l.sentBy(to.Addr.Addr())
	uri := sip.Uri{Scheme: "sip", Host: host, Port: port}
	if to.Transport == transportTCP {
		uri.UriParams = sip.HeaderParams{{K: "transport", V: "tcp"}}
	}
	return uri
}

// sentBy is the address that the peer at ip can reach us by.
func (l *Layer) sentBy(ip netip.Addr) (host string, port int) {
	if l.advertiseHost != "" {
		return l.advertiseHost, l.advertisePort
	}
	if local := l.local.Addr(); !local.IsUnspecified() {
		return local.String(), int(l.local.Port())
	}
	return l.routes.local(ip), int(l.local.Port())
}

// parseAdvertise splits "host" or "host:port"; the port defaults to that we listen on.
func parseAdvertise(text string, port uint16) (string, int, error) {
	if text == "" {
		return "", 0, nil
	}
	bare := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		bare = text[1 : len(text)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		return ip.String(), int(port), nil
	}
	host, service, ok := strings.Cut(text, ":")
	if !ok {
		return text, int(port), nil
	}
	if strings.HasPrefix(text, "[") {
		var err error
		if host, service, err = net.SplitHostPort(text); err != nil {
			return "", 0, fmt.Errorf("advertise %q: %w", text, err)
		}
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("advertise %q: not host:port", text)
	}
	return host, int(n), nil
}

// routes remembers the local address that routes to a peer; asking the kernel takes three system calls.
type routes struct {
	mu   sync.Mutex
	seen map[netip.Addr]string
}

// local is the local address that routes to ip. When too many are remembered, all are forgotten; since routes may
// change, that is also what keeps them fresh.
func (r *routes) local(ip netip.Addr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if host, ok := r.seen[ip]; ok {
		return host
	}
	host := "127.0.0.1"
	// No packet is sent: the kernel only chooses the route.
	if sock, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9))); err == nil {
		if addr, ok := sock.LocalAddr().(*net.UDPAddr); ok {
			host = addr.AddrPort().Addr().Unmap().WithZone("").String()
		}
		_ = sock.Close()
	}
	if r.seen == nil || len(r.seen) >= maxRoutes {
		r.seen = make(map[netip.Addr]string)
	}
	r.seen[ip] = host
	return host
}
