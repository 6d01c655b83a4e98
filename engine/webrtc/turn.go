package webrtc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
)

// TURN is a relay of our own, for pages whose network lets nothing through but what looks like it (RFC 8656). It relays to
// our media port and nowhere else: it is no way into the network behind us.
type TURN struct {
	Addr netip.AddrPort // of UDP and TCP; the zero value: there is none
	Host string         // that pages are told, and where relayed packets come from; default: Addr's
}

const (
	turnRealm = "tipring"
	turnTTL   = 12 * time.Hour // of a page's credentials
	turnQuota = 2000           // relays at once
)

var errNotRelayed = errors.New("webrtc: the relay leads to the media port only")

// relay is a running TURN.
type relay struct {
	server *turn.Server
	urls   []string
	secret string
}

// relay starts the TURN server in front of media, which is where our peer connections are.
func (t TURN) relay(media netip.AddrPort) (*relay, error) {
	host := t.Host
	if host == "" {
		if t.Addr.Addr().IsUnspecified() {
			return nil, errors.New("turn_listen: which address do pages reach it by? Set webrtc_advertise, or listen on one address")
		}
		host = t.Addr.Addr().String()
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return nil, fmt.Errorf("turn_listen: %q is no IP address", host)
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(t.Addr))
	if err != nil {
		return nil, fmt.Errorf("turn_listen: %w", err)
	}
	at := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.Addr.Addr(), at.Port())))
	if err != nil {
		_ = udp.Close()
		return nil, fmt.Errorf("turn_listen: %w", err)
	}
	r := &relay{secret: rand.Text()}
	generator := gatedRelays{
		RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: ip, Address: t.Addr.Addr().String()},
		own:                   ownAddresses(ip, media.Addr()), port: int(media.Port()),
	}
	allowed := func(_ net.Addr, peer net.IP) bool { return generator.own[peer.String()] }
	var used atomic.Int64
	r.server, err = turn.NewServer(turn.ServerConfig{
		Realm: turnRealm, AuthHandler: turn.LongTermTURNRESTAuthHandler(r.secret, nil),
		QuotaHandler:      func(string, string, net.Addr) bool { return used.Load() < turnQuota },
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: generator, PermissionHandler: allowed}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: generator, PermissionHandler: allowed}},
		EventHandler: turn.EventHandler{
			OnAllocationCreated: func(_, _ net.Addr, _, _, _ string, _ net.Addr, _ int) { used.Add(1) },
			OnAllocationDeleted: func(_, _ net.Addr, _, _, _ string) { used.Add(-1) },
		},
	})
	if err != nil {
		_ = udp.Close()
		_ = tcp.Close()
		return nil, fmt.Errorf("turn_listen: %w", err)
	}
	where := netip.AddrPortFrom(netip.MustParseAddr(ip.String()), at.Port())
	r.urls = []string{"turn:" + where.String() + "?transport=udp", "turn:" + where.String() + "?transport=tcp"}
	return r, nil
}

// credentials are what a page is told, with credentials of its own.
func (r *relay) credentials(identity string) (ICEServer, error) {
	user, password, err := turn.GenerateLongTermTURNRESTCredentials(r.secret, identity, turnTTL)
	return ICEServer{URLs: r.urls, Username: user, Credential: password}, err
}

// ownAddresses are the addresses that our media port has.
func ownAddresses(more net.IP, media netip.Addr) map[string]bool {
	own := map[string]bool{more.String(): true}
	if !media.IsUnspecified() {
		own[media.String()] = true
		return own
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return own
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			own[n.IP.String()] = true
		}
	}
	return own
}

// gatedRelays makes relays that lead to one port only.
type gatedRelays struct {
	turn.RelayAddressGenerator
	own  map[string]bool
	port int
}

// AllocatePacketConn implements turn's RelayAddressGenerator.
func (g gatedRelays) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	conn, addr, err := g.RelayAddressGenerator.AllocatePacketConn(c)
	if err != nil {
		return nil, nil, err
	}
	return gated{PacketConn: conn, gate: g}, addr, nil
}

// AllocateListener implements turn's RelayAddressGenerator: there are no relays of TCP.
func (gatedRelays) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNotRelayed
}

// AllocateConn implements turn's RelayAddressGenerator.
func (gatedRelays) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNotRelayed }

type gated struct {
	net.PacketConn
	gate gatedRelays
}

// WriteTo implements net.PacketConn.
func (g gated) WriteTo(b []byte, to net.Addr) (int, error) {
	if u, ok := to.(*net.UDPAddr); !ok || u.Port != g.gate.port || !g.gate.own[u.IP.String()] {
		return 0, errNotRelayed
	}
	return g.PacketConn.WriteTo(b, to)
}
