package sip

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/rtp"
)

// errNoCodec is an offer or answer without anything that both sides speak; an offer is answered with 488.
var errNoCodec = errors.New("no common codec")

const packetTime = 20 // ms, in our descriptions

// MediaState is where the offer/answer of a leg stands (RFC 3264). It is a value: its methods give the next state,
// and a failed negotiation leaves the old one in force.
type MediaState struct {
	SessionID uint64         `json:"session_id"`          // o= of ours
	Version   uint64         `json:"version"`             // o= of ours; raised only when the description changes
	Address   netip.AddrPort `json:"address"`             // that we describe
	Layout    []mediaLine    `json:"layout"`              // the m-lines of the session, never fewer (RFC 3264 8)
	Audio     int            `json:"audio"`               // index of ours in Layout
	Formats   []Format       `json:"formats"`             // on our audio line as last described
	Codecs    []string       `json:"codecs,omitempty"`    // that the application named; none: all that the door speaks
	OurOrder  bool           `json:"our_order,omitempty"` // of codecs decides over the far end's offers
	Local     []byte         `json:"local"`               // our last description
	Remote    []byte         `json:"remote"`              // the far end's last

	Agreed     bool `json:"agreed"`       // offer and answer were exchanged; the fields below hold
	Hold       bool `json:"hold"`         // by us
	HeldByPeer bool `json:"held_by_peer"` // by the far end

	Codec       Format         `json:"codec"` // with the number that we send and the far end's parameters
	RecvPT      uint8          `json:"recv_pt"`
	EventClock  int            `json:"event_clock"` // 0: no telephone-event
	EventSendPT uint8          `json:"event_send_pt"`
	EventRecvPT uint8          `json:"event_recv_pt"`
	RemoteAddr  netip.AddrPort `json:"remote_addr"`
	RemoteRTCP  netip.AddrPort `json:"remote_rtcp"`
	Direction   direction      `json:"direction"` // ours
	PacketTime  int            `json:"packet_time"`
	Learn       bool           `json:"learn"` // the far end gave no usable address
}

// wanted is the direction that we ask for, whatever the far end does (RFC 6337 5.3).
func (m *MediaState) wanted() direction {
	if m.Hold {
		return sendonly
	}
	return sendrecv
}

// offer gives our next offer: the first one with all codecs, later ones with what is in use.
func (m MediaState) offer(codecs []codec.Codec) (MediaState, error) {
	if len(m.Formats) == 0 {
		m.Formats = offeredFormats(codecs)
		m.Layout, m.Audio = []mediaLine{{Kind: "audio", Proto: "RTP/AVP"}}, 0
	}
	err := m.describe(m.wanted())
	return m, err
}

// narrow leaves only what is in use in the next offer, as a leg that moves to another node must.
func (m *MediaState) narrow() {
	keep := []Format{}
	for _, f := range m.Formats {
		if f.PayloadType == m.RecvPT || m.EventClock != 0 && f.PayloadType == m.EventRecvPT {
			keep = append(keep, f)
		}
	}
	m.Formats = keep
}

// formatOf is a row of the table as an offer of ours has it.
func formatOf(c codec.Codec) Format {
	return Format{PayloadType: c.PayloadType, Name: c.Name, ClockRate: c.ClockRate, Channels: max(c.Channels, 1), Fmtp: c.Fmtp}
}

func offeredFormats(codecs []codec.Codec) []Format {
	formats := make([]Format, 0, len(codecs)+1)
	clocks := []int{}
	for _, c := range codecs {
		formats = append(formats, formatOf(c))
		if !slices.Contains(clocks, c.ClockRate) {
			clocks = append(clocks, c.ClockRate)
		}
	}
	for _, clock := range clocks { // one per clock rate, since both share the timestamps (RFC 4733 2.1)
		if event, ok := codec.ByName(telephoneEvent, clock); ok {
			formats = append(formats, formatOf(event))
		}
	}
	return formats
}

// describe writes Local anew and raises Version if that changes it.
func (m *MediaState) describe(d direction) error {
	our := ourLine{
		addr: m.Address.Addr(), port: int(m.Address.Port()), formats: m.Formats, direction: d, ptime: packetTime,
	}
	b, err := marshalDescription(m.SessionID, m.Version, m.Layout, m.Audio, our)
	if err != nil {
		return err
	}
	if m.Local != nil && !bytes.Equal(b, m.Local) {
		m.Version++
		if b, err = marshalDescription(m.SessionID, m.Version, m.Layout, m.Audio, our); err != nil {
			return err
		}
	}
	m.Local = b
	return nil
}

// answer takes an offer of the far end and gives the state with our answer in Local.
func (m MediaState) answer(offer []byte, codecs []codec.Codec) (MediaState, error) {
	d, err := parseDescription(offer)
	if err != nil {
		return m, err
	}
	if d.audio < 0 {
		return m, errNoCodec
	}
	line := d.line()
	chosen, ok := choose(line.codecs, codecs, m.OurOrder)
	if !ok {
		return m, errNoCodec
	}
	m.Formats = []Format{chosen.described()}
	event, hasEvent := chooseEvent(line.codecs, chosen.ClockRate)
	if hasEvent {
		m.Formats = append(m.Formats, event.described())
	}
	m.Layout, m.Audio = d.media, d.audio
	theirs := line.direction
	if line.hold {
		theirs &= sendonly // it wants nothing to be sent to it
	}
	m.HeldByPeer = theirs&recvonly == 0
	m.Direction = m.wanted() & theirs.reverse()
	m.agree(line, chosen, chosen.PayloadType, event, event.PayloadType, hasEvent)
	if err := m.describe(m.Direction); err != nil {
		return m, err
	}
	m.Remote = offer
	return m, nil
}

// accept takes the far end's answer to our offer in Local.
func (m MediaState) accept(answer []byte) (MediaState, error) {
	d, err := parseDescription(answer)
	if err != nil {
		return m, err
	}
	if d.audio < 0 || d.audio != m.Audio {
		return m, errNoCodec
	}
	line := d.line()
	var chosen, ours Format
	for _, f := range line.codecs {
		if i := indexFormat(m.Formats, f); i >= 0 && m.Formats[i].row().Audio() {
			chosen, ours = f, m.Formats[i]
			break
		}
	}
	if ours.Name == "" {
		return m, errNoCodec
	}
	chosen.Name = ours.Name // as our table spells it
	event, hasEvent := chooseEvent(line.codecs, chosen.ClockRate)
	ourEvent := -1
	if hasEvent {
		ourEvent = indexFormat(m.Formats, event)
		hasEvent = ourEvent >= 0
	}
	var eventRecvPT uint8
	if hasEvent {
		eventRecvPT = m.Formats[ourEvent].PayloadType
	}
	theirs := line.direction
	if line.hold {
		theirs &= sendonly
	}
	m.Direction = m.wanted() & theirs.reverse()
	switch {
	case theirs&recvonly != 0:
		m.HeldByPeer = false
	case !m.Hold:
		m.HeldByPeer = true
	}
	m.agree(line, chosen, ours.PayloadType, event, eventRecvPT, hasEvent)
	m.Remote = answer
	return m, nil
}

// agree notes what both sides settled on.
func (m *MediaState) agree(line *mediaLine, sent Format, recvPT uint8, event Format, eventRecvPT uint8, hasEvent bool) {
	m.Agreed = true
	m.Codec, m.RecvPT = sent, recvPT
	m.EventClock, m.EventSendPT, m.EventRecvPT = 0, 0, 0
	if hasEvent {
		m.EventClock, m.EventSendPT, m.EventRecvPT = event.ClockRate, event.PayloadType, eventRecvPT
	}
	m.Learn = !line.addr.IsValid() && !line.hold
	m.RemoteAddr, m.RemoteRTCP = netip.AddrPort{}, netip.AddrPort{}
	if line.addr.IsValid() && !line.hold {
		m.RemoteAddr = netip.AddrPortFrom(line.addr, uint16(line.port))
		m.RemoteRTCP = line.rtcp
		if !m.RemoteRTCP.IsValid() && line.port < 65535 {
			m.RemoteRTCP = netip.AddrPortFrom(line.addr, uint16(line.port+1))
		}
	}
	m.PacketTime = m.Codec.row().PacketTime(line.ptime, line.maxptime)
}

// params is what the media side has to know. source is where the far end's SIP comes from.
func (m *MediaState) params(source netip.Addr) rtp.Params {
	return rtp.Params{
		Remote: m.RemoteAddr, RemoteRTCP: m.RemoteRTCP, Signalling: source,
		Codec: m.Codec.row(), Fmtp: m.Codec.Fmtp, SendPT: m.Codec.PayloadType, RecvPT: m.RecvPT,
		Events: m.EventClock != 0, EventSendPT: m.EventSendPT, EventRecvPT: m.EventRecvPT, EventClock: m.EventClock,
		Send: m.Direction&sendonly != 0, Receive: m.Direction&recvonly != 0,
		PacketTime: time.Duration(m.PacketTime) * time.Millisecond,
		Learn:      m.Learn,
	}
}

// choose is the format of the offer that we take, with the far end's number and parameters: the first that we speak, in
// the offerer's order (RFC 3264 6.1) or in ours. An answer has one codec, so that nobody changes it on the way.
func choose(offered []Format, codecs []codec.Codec, ours bool) (Format, bool) {
	best, rank := -1, len(codecs)
	for i, f := range offered {
		at := slices.IndexFunc(codecs, func(c codec.Codec) bool {
			return strings.EqualFold(f.Name, c.Name) && f.ClockRate == c.ClockRate && f.Channels == max(c.Channels, 1)
		})
		if at >= 0 && at < rank {
			best, rank = i, at
			if !ours {
				break
			}
		}
	}
	if best < 0 {
		return Format{}, false
	}
	f := offered[best]
	f.Name = codecs[rank].Name // as our table spells it
	return f, true
}

// chooseEvent is the telephone-event with the clock of the codec, else one at 8000 Hz, as some phones offer it.
func chooseEvent(formats []Format, clock int) (Format, bool) {
	best := -1
	for i, f := range formats {
		if isEvent(f) && (f.ClockRate == clock || best < 0 && f.ClockRate == 8000) {
			best = i
			if f.ClockRate == clock {
				break
			}
		}
	}
	if best < 0 {
		return Format{}, false
	}
	f := formats[best]
	f.Name = telephoneEvent
	return f, true
}

func isEvent(f Format) bool { return strings.EqualFold(f.Name, telephoneEvent) }

// row is f in the codec table; the zero Codec if it has none.
func (f Format) row() codec.Codec {
	c, _ := codec.ByName(f.Name, f.ClockRate)
	return c
}

// described is f as our answer has it: the far end's number, our parameters.
func (f Format) described() Format {
	f.Fmtp = f.row().Fmtp
	return f
}

// indexFormat is where formats has what f stands for, whatever its number; -1 if nowhere.
func indexFormat(formats []Format, f Format) int {
	return slices.IndexFunc(formats, func(o Format) bool {
		return strings.EqualFold(o.Name, f.Name) && o.ClockRate == f.ClockRate && o.Channels == f.Channels
	})
}
