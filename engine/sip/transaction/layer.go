package transaction

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Layer is the SIP transport and transaction layer on one port. Its methods may be called from any goroutine.
type Layer struct {
	options Options
	log     *slog.Logger
	seed    maphash.Seed
	start   time.Time
	handler Handler // set by Serve, before anything is read

	local         netip.AddrPort
	advertiseHost string
	advertisePort int
	routes        routes

	udp         *net.UDPConn
	packets     packetSocket
	streams     *streams
	lanes       []*lane
	buckets     *buckets // nil: no limit
	logs        logLimit
	lookups     chan struct{} // one slot for each name that is looked up
	maxFinished int           // of a lane

	count counters

	ctx    context.Context //nolint:containedctx // the life of what the layer starts: dials and look-ups
	cancel context.CancelFunc
	closed atomic.Bool
	begun  sync.Mutex // guards adding to work against the end
	work   sync.WaitGroup
}

// Listen binds UDP and TCP. Nothing is read before Serve.
func Listen(o Options) (*Layer, error) {
	o = o.withDefaults()
	udp, tcp, err := bind(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for SIP on %s: %w", o.Listen, err)
	}
	growBuffer(udp)
	l := newLayer(o, udp, tcp)
	l.udp = udp
	addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	l.local = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if l.advertiseHost, l.advertisePort, err = parseAdvertise(o.Advertise, l.local.Port()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// bind opens both sockets. For port 0 it tries until the port that UDP was given is free for TCP too.
func bind(listen string) (*net.UDPConn, net.Listener, error) {
	addr, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		return nil, nil, err
	}
	for tries := 0; ; tries++ {
		udp, err := net.ListenUDP("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		bound := *addr
		bound.Port = udp.LocalAddr().(*net.UDPAddr).Port
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: bound.IP, Port: bound.Port, Zone: bound.Zone})
		if err == nil {
			return udp, tcp, nil
		}
		_ = udp.Close()
		if addr.Port != 0 || tries == 20 {
			return nil, nil, err
		}
	}
}

// Watch lets f see every message too, as Options.Trace does. It is called before Serve.
func (l *Layer) Watch(f func(Trace)) {
	first := l.options.Trace
	l.options.Trace = func(t Trace) {
		if first != nil {
			first(t)
		}
		f(t)
	}
}

// newLayer makes a layer around its sockets. o has its defaults.
func newLayer(o Options, packets packetSocket, listener net.Listener) *Layer {
	l := &Layer{
		options: o, log: o.Log, seed: maphash.MakeSeed(), start: time.Now(),
		packets: packets, lookups: make(chan struct{}, maxLookups),
		maxFinished: max(1, o.Guard.Finished/o.Lanes),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.streams = newStreams(l, listener)
	if o.Guard.Rate > 0 {
		l.buckets = newBuckets(o.Guard.Rate, o.Guard.Burst)
	}
	for range o.Lanes {
		l.lanes = append(l.lanes, newLane(l))
	}
	return l
}

// Serve reads messages and calls h until ctx ends or Close is called (nil), or a socket fails (that error). It returns
// when all its goroutines have ended; the layer is closed then. It is called once.
func (l *Layer) Serve(ctx context.Context, h Handler) error {
	l.handler = h
	failed := make(chan error, 2)
	for _, n := range l.lanes {
		l.begin(func() { n.run(l.ctx.Done()) })
	}
	l.begin(func() { failed <- l.readDatagrams(l.udp) })
	l.begin(func() { failed <- l.streams.accept() })
	var err error
	select {
	case <-ctx.Done():
	case <-l.ctx.Done():
	case err = <-failed:
		if l.closed.Load() {
			err = nil
		}
	}
	if closing := l.Close(); err == nil {
		err = closing
	}
	l.work.Wait()
	return err
}

// begin starts a goroutine that ends with the layer; false if that is over.
func (l *Layer) begin(f func()) bool {
	l.begun.Lock()
	defer l.begun.Unlock()
	if l.closed.Load() {
		return false
	}
	l.work.Go(f)
	return true
}

// LocalAddr is the bound address.
func (l *Layer) LocalAddr() netip.AddrPort { return l.local }

// Close ends the layer. Open transactions end without a call. It does not wait for goroutines: Serve does.
func (l *Layer) Close() error {
	l.begun.Lock()
	was := l.closed.Swap(true)
	l.begun.Unlock()
	if was {
		return nil
	}
	l.cancel()
	err := l.packets.Close()
	if l.streams.listener != nil {
		err = errors.Join(err, l.streams.listener.Close())
	}
	l.streams.closeAll()
	return err
}

// Do runs f on the lane of callID, in one line with its messages. It never blocks; false if the lane's queue is full
// (counted) or the layer is closed.
func (l *Layer) Do(callID string, f func()) bool {
	if l.closed.Load() {
		return false
	}
	if !l.lane(callID).put(work{call: f}, 2*l.options.Guard.Queue) {
		l.count.droppedDo.Add(1)
		return false
	}
	return true
}

// lane is the lane of a Call-ID.
func (l *Layer) lane(callID string) *lane {
	return l.lanes[maphash.String(l.seed, callID)%uint64(len(l.lanes))]
}

// now is the time since the layer was made.
func (l *Layer) now() time.Duration { return time.Since(l.start) }

// exempt tells whether a source has no rate and no limit of connections.
func (l *Layer) exempt(ip netip.Addr) bool {
	if ip.IsLoopback() && !l.options.Guard.LimitLocal {
		return true
	}
	for _, p := range l.options.Guard.Exempt {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// logLimit lets ten lines through per second.
type logLimit struct{ slot atomic.Int64 }

const logsPerSecond = 10

// take tells whether one more line may be logged.
func (g *logLimit) take() bool {
	second := time.Now().Unix()
	for {
		slot := g.slot.Load() // the second in the upper bits, the lines in it below
		next := second<<8 | 1
		if slot>>8 == second {
			if slot&0xff >= logsPerSecond {
				return false
			}
			next = slot + 1
		}
		if g.slot.CompareAndSwap(slot, next) {
			return true
		}
	}
}
