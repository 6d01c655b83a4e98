package transaction

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// maxServices bounds the servers that a name may have.
const maxServices = 16

// Named reports whether the servers of a URI are to be found by SRV: its host is a name, and it has no port (RFC 3263 4.2).
func Named(uri sip.Uri) bool {
	if _, err := netip.ParseAddr(strings.Trim(uri.Host, "[]")); err == nil || uri.Port != 0 || uri.Host == "" {
		return false
	}
	_, maddr := param(uri.UriParams, "maddr")
	return !maddr
}

// Services finds the servers of a URI that is Named, by the SRV records of its transport (default UDP): best first, each a URI
// with host and port. None is no error: the host's own addresses are meant then. It does not block; cb is called by another
// goroutine, or at once if nothing can be asked.
func (l *Layer) Services(ctx context.Context, uri sip.Uri, cb func([]sip.Uri)) {
	if !Named(uri) {
		cb(nil)
		return
	}
	tp, ok := param(uri.UriParams, "transport")
	if !ok || tp == "" {
		tp = "udp"
	}
	select {
	case l.lookups <- struct{}{}:
	default:
		cb(nil)
		return
	}
	started := l.begin(func() {
		found := l.services(ctx, strings.ToLower(tp), uri.Host)
		<-l.lookups
		servers := make([]sip.Uri, 0, len(found))
		for _, s := range found[:min(len(found), maxServices)] {
			host := strings.TrimSuffix(s.Target, ".")
			if host == "" || s.Port == 0 { // "." says that the service is not there
				continue
			}
			servers = append(servers, sip.Uri{Scheme: "sip", Host: host, Port: int(s.Port), UriParams: uri.UriParams.Clone()})
		}
		cb(servers)
	})
	if !started {
		<-l.lookups
		cb(nil)
	}
}

func (l *Layer) services(ctx context.Context, proto, name string) []*net.SRV {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	var found []*net.SRV
	var err error
	if l.options.Services != nil {
		found, err = l.options.Services(ctx, "sip", proto, name)
	} else {
		_, found, err = net.DefaultResolver.LookupSRV(ctx, "sip", proto, name) // ordered by priority and weight
	}
	if err != nil {
		return nil
	}
	return found
}
