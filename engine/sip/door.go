package sip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// Options is what a Door is made of. Layer and Media are required; every other zero field takes the default that its
// comment gives.
type Options struct {
	Layer *transaction.Layer // messages; Serve runs it
	Media *rtp.Engine        // packets
	// Accept takes a new inbound call. It is called on the call's lane and must not block. An *engine.Error refuses
	// the call with the SIP status that fits its code, any other error with 500. nil refuses every call.
	Accept func(in engine.Incoming, leg engine.Leg) error

	MediaAddress netip.Addr // in our session descriptions; default: that of our Contact
	// Codecs that we speak, in the order of our offers; default: every audio codec of the table, in its order. The order
	// of an offer from the far end decides unless the application named codecs.
	Codecs         []codec.Codec
	SessionExpires time.Duration // session interval that we ask for; default 1800 s (RFC 4028 4)
	MinSE          time.Duration // shortest that we accept; default 90 s
	MaxRedirects   int           // hops of 3xx that an outbound call follows; default 3, negative: none
	// Rejected is told of INVITEs that were refused before they were calls; it must not block.
	Rejected func(r engine.Rejection)
	// TrunkChanged is told what happened to a trunk that is watched; it must not block.
	TrunkChanged func(t engine.Trunk, change engine.TrunkChange, data map[string]any)
	Trail        bool         // legs tell the trails of their calls what is sent and received
	Log          *slog.Logger // default: discards
}

// Door is the SIP user agent of a node: inbound calls go to Options.Accept, outbound ones are made by Dial. It
// implements engine.Dialer and transaction.Handler.
type Door struct {
	o     Options
	layer *transaction.Layer
	log   *slog.Logger
	stats counters

	watches trunkWatches

	mu     sync.Mutex                   // guards what follows, for lines
	legs   map[string][]*Leg            // by Call-ID; more than one if we call ourselves
	traced map[string][]*engine.Tracing // by Call-ID; a slice never changes
	closed bool
}

var (
	_ engine.Dialer       = (*Door)(nil)
	_ transaction.Handler = (*Door)(nil)
)

// New makes a Door. It opens nothing.
func New(o Options) (*Door, error) {
	if o.Layer == nil || o.Media == nil {
		return nil, errors.New("sip: Options.Layer and Options.Media are required")
	}
	if o.SessionExpires == 0 {
		o.SessionExpires = 1800 * time.Second
	}
	if o.MinSE == 0 {
		o.MinSE = 90 * time.Second
	}
	if o.MinSE < time.Second || o.SessionExpires < o.MinSE {
		return nil, errors.New("sip: SessionExpires must be at least MinSE, and that at least a second")
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 3
	}
	if o.Codecs == nil {
		for _, c := range codec.Table() {
			if c.Audio() {
				o.Codecs = append(o.Codecs, c)
			}
		}
	}
	if len(o.Codecs) == 0 {
		return nil, errors.New("sip: Options.Codecs names no codec")
	}
	if o.Accept == nil {
		o.Accept = func(engine.Incoming, engine.Leg) error {
			return engine.Errorf(engine.CodeNoRoute, "this node takes no inbound calls")
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		o: o, layer: o.Layer, log: o.Log, legs: make(map[string][]*Leg), traced: make(map[string][]*engine.Tracing),
	}
	d.watches.live = make(map[string]*trunkWatch)
	if o.Trail {
		o.Layer.Watch(d.trace)
	}
	return d, nil
}

// Serve reads SIP until ctx ends (nil) or the layer fails (its error). Calls that live then end without a message to
// the far end: whoever stops in order hangs up first.
func (d *Door) Serve(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // registrations are taken back before the sockets close
	defer stop()
	go func() { // ends with ctx, or when the layer has failed
		select {
		case <-ctx.Done():
		case <-serving.Done():
		}
		d.stopWatching()
		stop()
	}()
	err := d.layer.Serve(serving, d)
	stop()
	d.mu.Lock()
	d.closed = true
	var left []*Leg
	for _, legs := range d.legs {
		left = append(left, legs...)
	}
	clear(d.legs)
	d.mu.Unlock()
	for _, l := range left { // the lanes have stopped: nobody else touches a leg now
		l.end(engine.Cause{Reason: engine.ReasonNodeLost, Source: engine.SourceSystem})
	}
	return err
}

// add registers a leg; false if the door is closed.
func (d *Door) add(l *Leg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.legs[l.callID] = append(d.legs[l.callID], l)
	return true
}

func (d *Door) remove(l *Leg) {
	d.mu.Lock()
	defer d.mu.Unlock()
	legs := d.legs[l.callID]
	for i := range legs {
		if legs[i] == l {
			legs = append(legs[:i:i], legs[i+1:]...)
			break
		}
	}
	if len(legs) == 0 {
		delete(d.legs, l.callID)
	} else {
		d.legs[l.callID] = legs
	}
}

// find is the leg of a dialog by Call-ID and our tag; nil if there is none.
func (d *Door) find(callID, localTag string) *Leg {
	return d.findWhere(callID, func(l *Leg) bool { return l.localTag == localTag })
}

func (d *Door) findWhere(callID string, match func(*Leg) bool) *Leg {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.legs[callID] {
		if match(l) {
			return l
		}
	}
	return nil
}

// Request implements transaction.Handler.
func (d *Door) Request(req *sip.Request, tx *transaction.Server) {
	if tag := toTag(req); tag != "" {
		leg := d.find(callIDOf(req), tag)
		if leg == nil || !leg.knows(fromTag(req)) {
			d.reply(tx, 481)
			return
		}
		leg.request(req, tx)
		return
	}
	switch req.Method {
	case sip.INVITE:
		d.invite(req, tx)
	case sip.OPTIONS:
		d.respond(tx, d.capabilities(response(req, 200, newTag())))
	case sip.BYE, sip.INFO, sip.UPDATE, sip.PRACK:
		d.reply(tx, 481)
	default:
		d.refuseMethod(req, tx)
	}
}

// Cancel implements transaction.Handler.
func (d *Door) Cancel(tx *transaction.Server) {
	leg := d.findWhere(callIDOf(tx.Request()), func(l *Leg) bool { return l.uas == tx })
	if leg == nil {
		d.reply(tx, 487)
		return
	}
	leg.cancelled()
}

// ACK implements transaction.Handler.
func (d *Door) ACK(req *sip.Request) {
	if leg := d.find(callIDOf(req), toTag(req)); leg != nil && leg.knows(fromTag(req)) {
		leg.ack(req)
	}
}

// Response implements transaction.Handler.
func (d *Door) Response(res *sip.Response) {
	if leg := d.find(callIDOf(res), fromTag(res)); leg != nil {
		leg.strayAnswer(res)
		return
	}
	d.stats.stray.Add(1)
}

// Lost implements transaction.Handler.
func (d *Door) Lost(tx *transaction.Server, err error) {
	leg := d.findWhere(callIDOf(tx.Request()), func(l *Leg) bool { return l.uas == tx || l.unacked == tx })
	if leg != nil {
		leg.lost(tx, err)
	}
}

// methods is our Allow header (RFC 3261 20.5).
const methods = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"

// capabilities adds what an OPTIONS asks for (RFC 3261 11.2).
func (d *Door) capabilities(res *sip.Response) *sip.Response {
	res.AppendHeader(sip.NewHeader("Allow", methods))
	res.AppendHeader(sip.NewHeader("Accept", contentTypeSDP+", application/dtmf-relay, application/dtmf"))
	res.AppendHeader(sip.NewHeader("Accept-Encoding", "identity"))
	res.AppendHeader(sip.NewHeader("Supported", "timer"))
	return res
}

// refuseMethod answers what we do not do: 405 if we know the method, 501 if not (RFC 3261 8.2.1, 21.5.2).
func (d *Door) refuseMethod(req *sip.Request, tx *transaction.Server) {
	status := 501
	known := []sip.RequestMethod{sip.REGISTER, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.MESSAGE, sip.PUBLISH, sip.PRACK}
	if slices.Contains(known, req.Method) {
		status = 405
	}
	d.reply(tx, status, sip.NewHeader("Allow", methods))
}

// unsupported answers 420 to a request that requires what we do not know (RFC 3261 8.2.2.3), 415 to one with a body
// that we cannot read (8.2.3); false if the request is fine.
func (d *Door) unsupported(req *sip.Request, tx *transaction.Server, bodies ...string) bool {
	var unknown []string
	for _, option := range transaction.Values(req, "Require") {
		if !strings.EqualFold(option, "timer") {
			unknown = append(unknown, sanitize(option))
		}
	}
	if len(unknown) > 0 {
		d.reply(tx, 420, sip.NewHeader("Unsupported", strings.Join(unknown, ", ")))
		return true
	}
	if encoding := transaction.Header(req, "Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		d.reply(tx, 415, sip.NewHeader("Accept-Encoding", "identity"))
		return true
	}
	if len(req.Body()) == 0 {
		return false
	}
	if slices.Contains(bodies, contentType(req)) {
		return false
	}
	d.reply(tx, 415, sip.NewHeader("Accept", strings.Join(bodies, ", ")))
	return true
}

// respond sends res on tx.
func (d *Door) respond(tx *transaction.Server, res *sip.Response) bool {
	if err := tx.Respond(res); err != nil {
		d.log.Debug("response not sent", "call_id", callIDOf(res), "status", res.StatusCode, "error", err)
		return false
	}
	return true
}

// reply answers tx out of any dialog, or in one whose tag the request has.
func (d *Door) reply(tx *transaction.Server, status int, headers ...sip.Header) {
	res := response(tx.Request(), status, newTag())
	for _, h := range headers {
		res.AppendHeader(h)
	}
	d.respond(tx, res)
}

// response makes a response to req (RFC 3261 8.2.6). tag is put on To if it has none.
func response(req *sip.Request, status int, tag string) *sip.Response {
	res := sip.NewResponse(status, phrase(status))
	for _, h := range req.GetHeaders("via") {
		res.AppendHeader(h)
	}
	if req.Method == sip.INVITE && status > 100 && status < 300 {
		for _, h := range req.GetHeaders("record-route") {
			res.AppendHeader(h)
		}
	}
	if h := req.From(); h != nil {
		res.AppendHeader(h)
	}
	if h := req.To(); h != nil {
		to := *h
		if _, ok := to.Params.Get("tag"); !ok && status > 100 {
			to.Params = append(to.Params.Clone(), sip.HeaderKV{K: "tag", V: tag})
		}
		res.AppendHeader(&to)
	}
	if h := req.CallID(); h != nil {
		res.AppendHeader(h)
	}
	if h := req.CSeq(); h != nil {
		res.AppendHeader(h)
	}
	if status == 100 {
		for _, h := range req.GetHeaders("timestamp") {
			res.AppendHeader(h)
		}
	}
	res.SetBody(nil) // Content-Length: 0, which a stream must have (RFC 3261 20.14)
	return res
}

// maxRetryAfter is the most seconds that we make anyone wait; RFC 3261 14.2 says so for a second INVITE.
const maxRetryAfter = 10

// retryAfter is a random Retry-After.
func retryAfter() sip.Header {
	return sip.NewHeader("Retry-After", strconv.Itoa(rand.IntN(maxRetryAfter+1))) //nolint:gosec // spreads retries, guards nothing
}

func fromTag(msg sip.Message) string {
	if h := msg.From(); h != nil {
		return h.Params.GetOr("tag", "")
	}
	return ""
}

func toTag(msg sip.Message) string {
	if h := msg.To(); h != nil {
		return h.Params.GetOr("tag", "")
	}
	return ""
}

func callIDOf(msg sip.Message) string {
	if h := msg.CallID(); h != nil {
		return string(*h)
	}
	return ""
}

// contentType is the media type of the body, in lower case and without parameters.
func contentType(msg sip.Message) string {
	kind, _, _ := strings.Cut(transaction.Header(msg, "Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// mediaAddress is the address in our descriptions for a peer at to: that of our Contact unless set.
func (d *Door) mediaAddress(to transaction.Target) netip.Addr {
	if d.o.MediaAddress.IsValid() {
		return d.o.MediaAddress
	}
	if a, err := netip.ParseAddr(d.layer.Contact(to).Host); err == nil {
		return a.Unmap()
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to.Addr)) // asks the routing table, sends nothing
	if err != nil {
		return netip.IPv4Unspecified()
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.IPv4Unspecified()
}

// contact is our Contact for the peer at to.
func (d *Door) contact(user string, to transaction.Target) *sip.ContactHeader {
	uri := d.layer.Contact(to)
	uri.User = user
	return &sip.ContactHeader{Address: uri}
}
