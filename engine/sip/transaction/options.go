package transaction

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Options configure a Layer. Every zero field takes the default that its comment gives.
type Options struct {
	Listen    string        // "host:port": UDP and TCP on the one port; port 0 picks one that is free for both; default ":5060"
	Advertise string        // "host" or "host:port" in Via and Contact; default: the listen address, or the local address that routes to the peer
	Lanes     int           // ordered queues; default 4×GOMAXPROCS
	Guard     Guard         // limits
	Log       *slog.Logger  // default: discards
	T1        time.Duration // round-trip estimate; default 500 ms (RFC 3261 17.1.1.1)
	T2        time.Duration // longest retransmission interval; default 4 s
	T4        time.Duration // longest life of a message in the network; default 5 s
	UserAgent string        // User-Agent of requests and Server of responses that have none
	// Resolve finds the addresses of a host name; default: A and AAAA through net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Services finds the servers of a name by SRV (RFC 2782), best first; default: through net.DefaultResolver.
	Services func(ctx context.Context, service, proto, name string) ([]*net.SRV, error)
	// Trace sees every message that is received or sent. It must not block and may be called from any goroutine.
	Trace func(Trace)
}

// Trace is one message on the wire.
type Trace struct {
	Time      time.Time
	Sent      bool   // else received
	Transport string // "UDP" or "TCP"
	Remote    netip.AddrPort
	CallID    string
	Raw       string // the whole message
}

// Guard holds the limits in front of the transactions. Every zero field takes the default that its comment gives.
type Guard struct {
	Rate         float64        // initial requests per second and source address; default 200; negative: no limit
	Burst        int            // of that rate; default 1000
	Exempt       []netip.Prefix // sources without a rate and without a limit of connections, such as trunks
	LimitLocal   bool           // whether loopback sources are limited too
	MessageBytes int            // longest message on a stream; default 65535, which is also the longest datagram
	HeaderBytes  int            // longest start-line and headers; default 32 KiB
	Headers      int            // most header lines; default 256

	Connections          int           // most TCP connections; default 5000
	ConnectionsPerSource int           // of them from one address; default 50
	IdleTimeout          time.Duration // a connection is closed if nothing comes before its first message; default 120 s
	MessageTimeout       time.Duration // a message that began must be complete; default 10 s

	Open     int // most open server transactions; initial requests beyond get 503, others at twice that; default 20000
	Finished int // most finished ones kept to answer retransmissions; the oldest goes first; default 65536
	Queue    int // most messages waiting per lane, of 2 KiB on average; default 2048 (Do may fill it to twice that)
}

func (o Options) withDefaults() Options {
	setDefault(&o.Listen, ":5060")
	setDefault(&o.Lanes, 4*runtime.GOMAXPROCS(0))
	setDefault(&o.T1, 500*time.Millisecond)
	setDefault(&o.T2, 4*time.Second)
	setDefault(&o.T4, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Guard = o.Guard.withDefaults()
	return o
}

func (g Guard) withDefaults() Guard {
	setDefault(&g.Rate, 200)
	setDefault(&g.Burst, 1000)
	setDefault(&g.MessageBytes, 65535)
	setDefault(&g.HeaderBytes, 32<<10)
	setDefault(&g.Headers, 256)
	setDefault(&g.Connections, 5000)
	setDefault(&g.ConnectionsPerSource, 50)
	setDefault(&g.IdleTimeout, 120*time.Second)
	setDefault(&g.MessageTimeout, 10*time.Second)
	setDefault(&g.Open, 20000)
	setDefault(&g.Finished, 65536)
	setDefault(&g.Queue, 2048)
	return g
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
