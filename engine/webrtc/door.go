package webrtc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/token"
)

// Options is what a Door is made of. Media, Tokens, Accept and Route are required.
type Options struct {
	Listen Listen
	TURN   TURN
	Media  *rtp.Engine
	Tokens *token.Key
	// Accept takes a page's call and says its id. An *engine.Error refuses it.
	Accept func(in engine.Incoming, leg engine.Leg) (callID string, err error)
	// Route finds who runs the calls of a page to an address; an *engine.Error refuses.
	Route func(ctx context.Context, c token.Claims, to string) (engine.Application, error)
	// Transfer connects whom the call talks to with somebody else; nil: pages cannot transfer.
	Transfer func(ctx context.Context, project, callID, to string) error
	Origins  []string // of pages that may connect, beside those of our own host; "*": all
	Servers  func(identity string) []ICEServer
	Codecs   []codec.Codec // best first; default: Opus, then the others of the table that browsers have
	Node     string
	Log      *slog.Logger
}

// Door lets browsers in. It is an http.Handler, for GET /rtc, and an engine.Dialer, for client: addresses.
type Door struct {
	o        Options
	api      *pion.API
	shut     func() error
	media    netip.AddrPort // where peer connections are
	log      *slog.Logger
	relay    *relay // nil: there is none
	upgrader websocket.Upgrader
	stats    counters
	seal     [32]byte // key of resume tokens

	mu     sync.Mutex // guards what follows
	pages  map[string]*page
	legs   map[string]*Leg // by call id
	closed bool
}

type counters struct{ failed, refused atomic.Uint64 }

// Stats are figures of a Door.
type Stats struct {
	Pages, Calls    int
	ICEFailures     uint64
	RefusedSessions uint64
}

var (
	_ engine.Dialer = (*Door)(nil)
	_ http.Handler  = (*Door)(nil)
)

// New opens the ports and makes a Door.
func New(o Options) (*Door, error) {
	if o.Media == nil || o.Tokens == nil || o.Accept == nil || o.Route == nil {
		return nil, errors.New("webrtc: Options.Media, Tokens, Accept and Route are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Servers == nil {
		o.Servers = func(string) []ICEServer { return []ICEServer{} }
	}
	if o.Codecs == nil {
		for _, row := range []struct {
			name  string
			clock int
		}{{"opus", 48_000}, {"G722", 8_000}, {"PCMU", 8_000}, {"PCMA", 8_000}} {
			if c, ok := codec.ByName(row.name, row.clock); ok {
				o.Codecs = append(o.Codecs, c)
			}
		}
	}
	l, err := o.Listen.open()
	if err != nil {
		return nil, err
	}
	d := &Door{o: o, api: l.api, shut: l.close, media: l.addr, log: o.Log, pages: map[string]*page{}, legs: map[string]*Leg{}}
	if o.TURN.Addr.IsValid() {
		if d.relay, err = o.TURN.relay(l.addr); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	_, _ = rand.Read(d.seal[:]) // never fails (crypto/rand)
	d.upgrader = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096, Subprotocols: []string{"tipring.v1"}, CheckOrigin: d.allowed,
	}
	return d, nil
}

// Close says to all pages that the node goes away, and closes the ports. Calls that live end.
func (d *Door) Close() error {
	d.mu.Lock()
	d.closed = true
	legs, pages := make([]*Leg, 0, len(d.legs)), make([]*page, 0, len(d.pages))
	for _, l := range d.legs {
		legs = append(legs, l)
	}
	for _, p := range d.pages {
		pages = append(pages, p)
	}
	d.mu.Unlock()
	for _, l := range legs {
		_ = l.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNodeLost, Source: engine.SourceSystem}) // or it is over
	}
	for _, p := range pages {
		d.leave(p)
	}
	if d.relay != nil {
		return errors.Join(d.relay.server.Close(), d.shut())
	}
	return d.shut()
}

// servers are those that a page is told to use.
func (d *Door) servers(identity string) []ICEServer {
	list := d.o.Servers(identity)
	if d.relay != nil {
		if own, err := d.relay.credentials(identity); err == nil {
			list = append(list, own)
		}
	}
	return list
}

// Stats are the figures now.
func (d *Door) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{Pages: len(d.pages), Calls: len(d.legs), ICEFailures: d.stats.failed.Load(), RefusedSessions: d.stats.refused.Load()}
}

// leave forgets a page; its calls go on as long as their audio does.
func (d *Door) leave(p *page) {
	d.mu.Lock()
	delete(d.pages, p.session)
	d.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	if p.socket != nil {
		p.socket.close(websocket.CloseGoingAway, "the node stops: connect to another")
		p.socket = nil
	}
}

// forget removes a leg that is over; it is called with the leg's lock.
func (d *Door) forget(l *Leg) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.legs, l.callID)
}

// register gives a leg its place by its call's id; false if the door is closed.
func (d *Door) register(callID string, l *Leg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.legs[callID] = l
	return true
}

// leg is the call of an id, if it is p's, or rings there.
func (d *Door) leg(p *page, callID string) (*Leg, error) {
	d.mu.Lock()
	l := d.legs[callID]
	d.mu.Unlock()
	c := p.may()
	if l == nil || l.project != c.ProjectID || l.identity != c.Identity {
		return nil, engine.Errorf(engine.CodeCallNotFound, "this page has no call %q", callID)
	}
	return l, nil
}

// newLeg makes a leg whose packets nobody carries yet.
func (d *Door) newLeg(key, project, identity string, inbound bool, ssrc uint32) (*Leg, error) {
	s, err := d.o.Media.OpenOn(key, nobody{}, ssrc)
	if err != nil {
		return nil, fmt.Errorf("open audio: %w", err)
	}
	l := &Leg{
		door: d, log: d.log.With("identity", identity), project: project, identity: identity, inbound: inbound, rtp: s,
		codecs: d.o.Codecs, signals: make(chan engine.Signal, signalQueue),
	}
	s.Notify(l.mediaEvents)
	return l, nil
}

// Dial implements engine.Dialer: every page of the identity rings.
func (d *Door) Dial(_ context.Context, out engine.Outgoing) (engine.Leg, error) {
	l, err := d.newLeg(out.Key, out.ProjectID, out.To.User(), false, 0)
	if err != nil {
		return nil, err
	}
	if l.codecs = d.wanted(out.Codecs); len(l.codecs) == 0 {
		l.rtp.Close()
		return nil, engine.Errorf(engine.CodeUnsupported, "browsers have none of the codecs %v", out.Codecs)
	}
	l.callID = out.CallID
	if !d.register(out.CallID, l) {
		l.rtp.Close()
		return nil, engine.Errorf(engine.CodeCapacity, "this node is stopping")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rung = d.connected(l.project, l.identity)
	if len(l.rung) == 0 {
		l.end(engine.Cause{Reason: engine.ReasonUnavailable, Source: engine.SourceSystem, SIPStatus: 480, Text: "no page is connected"})
		return l, nil
	}
	data := map[string]any{"from": out.From.URI, "to": out.To.URI, "headers": out.Headers}
	if out.From.Name != "" {
		data["from_name"] = out.From.Name
	}
	incoming := event{Type: "call.incoming", CallID: l.callID, Timestamp: time.Now().UTC(), Data: data}
	l.note(engine.TrailOut, incoming.Type, incoming)
	for _, p := range l.rung {
		p.publish(incoming)
	}
	return l, nil
}

// Resume implements engine.Dialer: a browser comes back by itself.
func (*Door) Resume(context.Context, []byte) (engine.Leg, error) {
	return nil, engine.Errorf(engine.CodeUnsupported, "a browser's call is resumed by its page")
}

// wanted are the codecs of the names, in their order; all of the door's if there are no names.
func (d *Door) wanted(names []string) []codec.Codec {
	if len(names) == 0 {
		return d.o.Codecs
	}
	var out []codec.Codec
	for _, n := range names {
		for _, c := range d.o.Codecs {
			if c.Name == n {
				out = append(out, c)
			}
		}
	}
	return out
}

// connected are the pages of an identity that may be called and are there.
func (d *Door) connected(project, identity string) (out []*page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pages {
		p.mu.Lock()
		if c := p.claims; p.socket != nil && c.Incoming && c.ProjectID == project && c.Identity == identity {
			out = append(out, p)
		}
		p.mu.Unlock()
	}
	return out
}

// newID is 16 random bytes that fit into URLs.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}
