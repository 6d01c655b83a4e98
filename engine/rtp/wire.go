package rtp

import (
	"net/netip"
	"runtime/debug"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// wire is the state of a session that only its shard's thread touches.
type wire struct {
	sockets portPair
	token   int32
	slot    int

	settledIn bool // slot was chosen

	params  Params
	ready   bool          // Set was called
	encoder codec.Encoder // nil until something is encoded; see encode
	decoder codec.Decoder // nil until something is decoded; see decode
	rate    int           // in Hz, that decoder is asked for

	in       inbound
	out      outbound
	filter   sourceFilter
	rtcp     rtcpState
	presses  dtmf.Receiver
	keying   keying
	source   media.Source
	from     *Session // whose mic source is; nil: another source
	linked   bool     // this session stands in from.hearers
	relaying bool     // packets of from are forwarded on arrival
	hearers  []*Session
	taps     []*tap
	mutedIn  bool
	mutedOut bool
	drops    uint64
	turns    uint32

	described described
}

// described is what the texts in the published figures were made of.
type described struct {
	codec, pathFrom codec.Codec
	remote          netip.AddrPort
}

// A tap is one listener, known by its address.
type tap struct{ to media.Tap }

func newWire(sockets portPair, now moment) *wire {
	w := &wire{sockets: sockets}
	w.in.lastPacket = now
	w.out.init(now)
	w.rtcp.init(now)
	return w
}

// configure applies Params.
func (s *Session) configure(sh *shard, p Params) {
	same := s.ready && s.params.Codec.Same(p.Codec)
	s.params, s.ready = p, true
	if !same {
		s.encoder, s.decoder = nil, nil
		s.out.setClock(p.Codec.ClockRate, sh.now)
		s.in.setCodec(p.Codec)
	}
	s.filter.set(p.Remote, p.Signalling, p.Learn, sh.now)
	s.rtcp.setRemote(s, p.RemoteRTCP)
	s.setDestination()
	s.in.lastPacket = sh.now // silence counts from here: a hold is no loss
	sh.setHalf(s)
	s.relink()
}

// encode is the encoder of what goes out: made when the first frame is to be encoded, since most calls are relayed. nil:
// no audio codec, so silence stays silence.
func (s *Session) encode() codec.Encoder {
	if s.encoder == nil {
		o := codec.EncoderOptions{Fmtp: s.params.Fmtp, Opus: s.engine.options.Opus}
		s.encoder, _ = s.params.Codec.NewEncoderFor(o)
	}
	return s.encoder
}

// decode is the decoder of what comes in, at the rate that is wanted; nil as with encode.
func (s *Session) decode() codec.Decoder {
	if s.decoder == nil {
		s.decoder, _ = s.params.Codec.NewDecoderAt(s.rate)
	}
	return s.decoder
}

// The rates in Hz that decoders are asked for: what G.711 has, and what everybody can use.
const narrowband, wideband = 8_000, 16_000

// setRate asks the decoder for the highest rate that anybody wants who gets audio decoded, so that nothing stands between
// two codecs that have the same.
func (s *Session) setRate() {
	rate := narrowband
	for _, h := range s.hearers {
		if !h.relaying {
			rate = max(rate, h.params.Codec.SampleRate)
		}
	}
	for _, t := range s.taps {
		rate = max(rate, rateOf(t.to))
	}
	for _, h := range s.hearers {
		for _, t := range h.taps {
			rate = max(rate, rateOf(t.to))
		}
	}
	if s.in.direct {
		rate = max(rate, s.in.directRate)
	}
	if s.in.exchange != nil {
		rate = wideband
	}
	if rate = min(rate, wideband); rate != s.rate {
		s.rate, s.decoder = rate, nil
		s.in.rest = s.in.rest[:0]
	}
}

func rateOf(t media.Tap) int {
	if r, ok := t.(media.RatedTap); ok {
		return r.Rate()
	}
	return narrowband
}

// setDestination follows the source rules: packets go where they come from. It reports whether that is news.
func (s *Session) setDestination() bool {
	remote := s.filter.remote()
	if remote == s.out.remote {
		return false
	}
	s.out.remote, s.out.to = remote, s.sockets.rtp.address(remote)
	return true
}

// report hands an event to the control side, which may not look: then it is dropped and counted.
func (s *Session) report(sh *shard, e Event) {
	select {
	case s.events <- e:
		if f := s.notify.Load(); f != nil {
			(*f)()
		}
	default:
		s.drop(sh, DropEvent)
	}
}

func (s *Session) drop(sh *shard, why DropReason) {
	sh.figures.drops[why]++
	s.drops++
}

// setSource begins to hear src; nil is silence.
func (s *Session) setSource(sh *shard, src media.Source) {
	m, ok := src.(*mic)
	ok = ok && m.session.engine == s.engine
	if ok && s.linked && m.session == s.from {
		return // it is heard already: no new talk-spurt
	}
	s.unlink()
	s.source, s.from = src, nil
	if ok {
		s.from = m.session
	}
	s.out.marker, s.out.mapped, s.out.rest = true, false, true
	s.link(sh)
}

// link ties s to the mic that it hears, if that is on this shard now; else the next turn tries again.
func (s *Session) link(sh *shard) {
	if s.from == nil || s.linked || s.from.owner.Load() != sh {
		return
	}
	s.linked = true
	s.from.hearers = append(s.from.hearers, s)
	s.relink()
}

func (s *Session) unlink() {
	if s.linked {
		s.linked, s.relaying = false, false
		s.from.hearers = without(s.from.hearers, s)
		s.from.setDemand()
	}
}

// unlinkAll cuts s from what it hears and from who hears it.
func (s *Session) unlinkAll() {
	s.unlink()
	for _, h := range s.hearers {
		h.linked, h.relaying = false, false
	}
	clear(s.hearers)
	s.hearers = s.hearers[:0]
	s.setDemand()
}

// relink decides again, for s and for who hears it, whether packets are forwarded on arrival or pulled.
func (s *Session) relink() {
	s.relaying = s.relays()
	if s.linked {
		s.from.setDemand()
	}
	for _, h := range s.hearers {
		h.relaying = h.relays()
	}
	s.setDemand()
}

// relays reports whether s can forward the packets of the mic that it hears as they come: nothing is converted,
// nothing is silenced. Who listens in gets the audio beside it.
func (s *Session) relays() bool {
	m := s.from
	if !s.linked || m == s || !s.params.Codec.Same(m.params.Codec) || !s.params.Send || !m.params.Receive {
		return false
	}
	if s.mutedOut || m.mutedIn || s.keying.busy() {
		return false
	}
	return s.params.PacketTime == packetTime || m.in.packetTime == s.params.PacketTime
}

// setDemand keeps packets for the mic only as long as somebody pulls it.
func (s *Session) setDemand() {
	wanted := len(s.taps) > 0 || s.in.exchange != nil || s.in.direct
	for _, h := range s.hearers {
		wanted = wanted || !h.relaying || len(h.taps) > 0
	}
	switch {
	case wanted && s.in.jitter == nil:
		s.in.jitter = newJitterBuffer(s.params.Codec)
	case !wanted && s.in.jitter != nil:
		s.in.late += s.in.jitter.unplayed()
		s.in.jitter = nil
	}
	s.setRate()
}

func (s *Session) addTap(t *tap) {
	s.taps = append(s.taps, t)
	s.relink()
}

func (s *Session) removeTap(t *tap) {
	for i := range s.taps {
		if s.taps[i] == t {
			s.taps = append(s.taps[:i:i], s.taps[i+1:]...)
			break
		}
	}
	s.relink()
}

func (s *Session) mute(d media.Direction, on bool) {
	if d == media.In {
		s.mutedIn = on
	} else {
		s.mutedOut = on
	}
	s.relink()
}

// listen gives f to the taps. One that panics is removed; the shard goes on.
func (s *Session) listen(sh *shard, d media.Direction, f *media.Frame) {
	for i := 0; i < len(s.taps); i++ {
		if !sh.callTap(s.taps[i].to, d, f) {
			s.removeTap(s.taps[i])
			i--
		}
	}
}

// callTap is a boundary of recovery: a tap's fault must not end the calls of a whole shard.
func (sh *shard) callTap(t media.Tap, d media.Direction, f *media.Frame) (ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			sh.fault("tap", fault)
			ok = false
		}
	}()
	t.Frame(d, f)
	return true
}

// callSource is a boundary of recovery: a source that panics is over.
func (sh *shard) callSource(src media.Source, f *media.Frame) (ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			sh.fault("source", fault)
			ok = false
		}
	}()
	return src.ReadFrame(f) == nil
}

// fault counts and tells a panic of foreign code; it ends with what it broke, so it is rare.
func (sh *shard) fault(what string, value any) {
	sh.figures.faults++
	sh.engine.options.Log.Error("rtp: panic, ended", "what", what, "panic", value, "stack", string(debug.Stack()))
}

// localAddress is where the far end sends to, as far as we know: the bound address.
func (s *Session) localAddress() string {
	return netip.AddrPortFrom(s.engine.options.Bind, uint16(s.sockets.port)).String()
}

// turn is what a session does once per packet time, at the nominal time at.
func (s *Session) turn(sh *shard, at moment) {
	if !s.ready {
		return
	}
	s.link(sh)
	if d, ok := s.presses.Tick(packetTime); ok {
		s.report(sh, Event{Kind: Digit, Digit: d})
	}
	s.watch(sh)
	s.send(sh, at)
	if len(s.taps) > 0 || s.in.exchange != nil {
		s.listenIn(sh)
	}
	s.stillPulled(sh)
	s.rtcp.turn(s, sh)
	if s.turns++; s.turns%10 == 0 {
		s.publish(false)
	}
}

// watch reports that the far end fell silent, where it should not.
func (s *Session) watch(sh *shard) {
	if s.in.lost || !s.params.Send || !s.params.Receive {
		return
	}
	if sh.now.sub(s.in.lastPacket) >= s.engine.options.MediaTimeout {
		s.in.lost = true
		s.report(sh, Event{Kind: MediaLost, Remote: s.out.remote})
	}
}
