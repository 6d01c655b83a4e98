package transaction

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestResolve(t *testing.T) {
	down := errors.New("resolver is down")
	l := serve(t, Options{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "both.example":
			return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil
		case "none.example":
			return nil, nil
		}
		return nil, down
	}}, funcs{})
	tests := []struct {
		uri  string
		want string // "transport address"
		err  error
	}{
		{"sip:a@192.0.2.9", "UDP 192.0.2.9:5060", nil},
		{"sip:a@192.0.2.9:5070;transport=tcp", "TCP 192.0.2.9:5070", nil},
		{"sip:a@192.0.2.9;Transport=UDP", "UDP 192.0.2.9:5060", nil},
		{"sip:[2001:db8::5]:5080", "UDP [2001:db8::5]:5080", nil},
		{"sip:a@name.example;maddr=192.0.2.3", "UDP 192.0.2.3:5060", nil},
		{"sip:a@both.example:7", "UDP 192.0.2.1:7", nil},
		{"sip:a@none.example", "", ErrUnresolved},
		{"sip:a@down.example", "", down},
		{"sips:a@192.0.2.9", "", ErrTransportUnsupported},
		{"sip:a@192.0.2.9;transport=ws", "", ErrTransportUnsupported},
		{"tel:+4930123", "", ErrUnresolved},
	}
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			var uri sip.Uri
			if err := sip.ParseUri(tt.uri, &uri); err != nil {
				t.Fatal(err)
			}
			type result struct {
				to  Target
				err error
			}
			results := make(chan result, 1)
			l.Resolve(t.Context(), uri, func(to Target, err error) { results <- result{to, err} })
			r := receive(t, "the target", results)
			if !errors.Is(r.err, tt.err) {
				t.Fatalf("error %v, want %v", r.err, tt.err)
			}
			if got := r.to.Transport + " " + r.to.Addr.String(); r.err == nil && got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// An address needs no other goroutine: the target is there when Resolve returns.
func TestResolveAddressAtOnce(t *testing.T) {
	l := serve(t, Options{}, funcs{})
	called := false
	l.Resolve(t.Context(), sip.Uri{Scheme: "sip", Host: "192.0.2.9"}, func(Target, error) { called = true })
	if !called {
		t.Error("not called before Resolve returned")
	}
}

// Look-ups that do not come back are bounded, and end with the layer.
func TestResolveBounded(t *testing.T) {
	l := serve(t, Options{Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, funcs{})
	results := make(chan error, maxLookups+1)
	for range maxLookups + 1 {
		l.Resolve(t.Context(), sip.Uri{Scheme: "sip", Host: "slow.example"}, func(_ Target, err error) { results <- err })
	}
	if err := receive(t, "the refusal", results); !errors.Is(err, ErrUnresolved) {
		t.Errorf("one too many: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range maxLookups {
		if err := receive(t, "the end", results); !errors.Is(err, context.Canceled) {
			t.Fatalf("look-up ended with %v", err)
		}
	}
}

func TestContact(t *testing.T) {
	tests := []struct {
		listen, advertise string
		want              string // %p is the port
	}{
		{"127.0.0.1:0", "", "sip:127.0.0.1:%p"},
		{"0.0.0.0:0", "", "sip:127.0.0.1:%p"}, // the local address that routes to the peer
		{"127.0.0.1:0", "203.0.113.1", "sip:203.0.113.1:%p"},
		{"127.0.0.1:0", "203.0.113.1:5070", "sip:203.0.113.1:5070"},
		{"127.0.0.1:0", "edge.example", "sip:edge.example:%p"},
		{"127.0.0.1:0", "[2001:db8::1]:5070", "sip:[2001:db8::1]:5070"},
		{"127.0.0.1:0", "2001:db8::1", "sip:[2001:db8::1]:%p"},
	}
	for _, tt := range tests {
		t.Run(tt.listen+" "+tt.advertise, func(t *testing.T) {
			l := serve(t, Options{Listen: tt.listen, Advertise: tt.advertise}, funcs{})
			uri := l.Contact(Target{Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:9")})
			want := strings.ReplaceAll(tt.want, "%p", strconv.Itoa(int(l.LocalAddr().Port())))
			if uri.String() != want {
				t.Errorf("Contact is %q, want %q", uri.String(), want)
			}
			uri = l.Contact(Target{Transport: "TCP", Addr: netip.MustParseAddrPort("127.0.0.1:9")})
			if uri.String() != want+";transport=tcp" {
				t.Errorf("Contact is %q, want %q", uri.String(), want+";transport=tcp")
			}
		})
	}
	for _, bad := range []string{"host:port", ":5060", "[::1", "host:0", "host:70000"} {
		if l, err := Listen(Options{Listen: "127.0.0.1:0", Advertise: bad}); err == nil {
			_ = l.Close()
			t.Errorf("Advertise %q is accepted", bad)
		}
	}
}

// Listen takes one port for both transports, and says so when it cannot.
func TestListen(t *testing.T) {
	l := serve(t, Options{}, funcs{})
	if other, err := Listen(Options{Listen: l.LocalAddr().String()}); err == nil {
		_ = other.Close()
		t.Error("two layers on one port")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Do("c", func() {}) {
		t.Error("Do after Close")
	}
	if _, err := l.Request(outbound(sip.OPTIONS, "c"), Target{Addr: far}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Request after Close: %v", err)
	}
	if err := l.ACK(outbound(sip.ACK, "c"), Target{Addr: far}); !errors.Is(err, ErrClosed) {
		t.Errorf("ACK after Close: %v", err)
	}
}

// Serve ends with its context.
func TestServeEnds(t *testing.T) {
	l, err := Listen(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, funcs{}) }()
	p := dialPeer(t, l.LocalAddr())
	cancel()
	if err := receive(t, "the end of Serve", done); err != nil {
		t.Error(err)
	}
	p.expectEnd()
}

// A socket that fails ends Serve with its error, and everything with it.
func TestServeSocketFails(t *testing.T) {
	for _, name := range []string{"UDP", "TCP"} {
		t.Run(name, func(t *testing.T) {
			l, err := Listen(Options{Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- l.Serve(context.Background(), funcs{}) }()
			p := dialPeer(t, l.LocalAddr())
			waitFor(t, "the connection", func() bool { return l.Stats().Connections == 1 })
			if name == "UDP" {
				err = l.udp.Close()
			} else {
				err = l.streams.listener.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := receive(t, "the end of Serve", done); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
			p.expectEnd()
		})
	}
}

// Reply answers without a transaction, the same way each time.
func TestReply(t *testing.T) {
	var l *Layer
	ready := make(chan struct{})
	l = serve(t, Options{}, funcs{ack: func(req *sip.Request) {
		<-ready
		if err := l.Reply(req, 503, "Draining", sip.NewHeader("Retry-After", "17")); err != nil {
			t.Error(err)
		}
	}})
	close(ready)
	p := newPeer(t)
	var first string
	for range 2 {
		p.send(l.LocalAddr(), text{method: "ACK", cseqMethod: "ACK"}.String())
		m := p.expect("SIP/2.0 503 Draining")
		if field(m, "Retry-After") != "17" || first != "" && m != first {
			t.Errorf("answered %q, first %q", m, first)
		}
		first = m
	}
}
