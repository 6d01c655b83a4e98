package sip

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/tipring/tipring/engine/codec"
)

// Limits of a session description: whatever is larger is refused before it is parsed.
const (
	maxSDPSize       = 16 << 10
	maxSDPLine       = 1024
	maxSDPMedia      = 16
	maxSDPAttributes = 64 // per m-line, and of the session
	maxSDPFormats    = 32 // per m-line
)

// errMalformedSDP is a body that is no session description; it is answered with 400.
var errMalformedSDP = errors.New("malformed session description")

// contentTypeSDP is the only body of an INVITE that we take.
const contentTypeSDP = "application/sdp"

// direction is who sends (RFC 3264 5.1), seen from the author of the description.
type direction uint8

const (
	inactive direction = 0
	sendonly direction = 1
	recvonly direction = 2
	sendrecv direction = sendonly | recvonly
)

func (d direction) String() string {
	switch d {
	case sendonly:
		return "sendonly"
	case recvonly:
		return "recvonly"
	case sendrecv:
		return "sendrecv"
	default:
		return "inactive"
	}
}

// reverse is the same direction seen from the other side.
func (d direction) reverse() direction { return d&sendonly<<1 | d&recvonly>>1 }

func parseDirection(s string) (direction, bool) {
	switch s {
	case "sendrecv":
		return sendrecv, true
	case "sendonly":
		return sendonly, true
	case "recvonly":
		return recvonly, true
	case "inactive":
		return inactive, true
	}
	return 0, false
}

// description is what concerns us of a session description (RFC 8866).
type description struct {
	origin sdp.Origin
	media  []mediaLine
	audio  int // index in media of the line that carries the call, -1 if none can
}

// line is the audio line of d; d.audio must not be -1.
func (d *description) line() *mediaLine { return &d.media[d.audio] }

// mediaLine is one m-line with the attributes in force for it.
type mediaLine struct {
	Kind    string   `json:"kind"`
	Proto   string   `json:"proto"`
	Formats []string `json:"formats"`

	port      int
	addr      netip.Addr     // zero: none, or a host name
	rtcp      netip.AddrPort // zero: the next port (RFC 3605)
	direction direction
	hold      bool // c=0.0.0.0, the hold of RFC 2543
	ptime     int  // in ms, 0 if not said
	maxptime  int  // as ptime
	codecs    []Format
}

// Format is one payload format of an m-line: a payload type number and what it stands for.
type Format struct {
	PayloadType uint8  `json:"pt"`
	Name        string `json:"name"`
	ClockRate   int    `json:"clock"`
	Channels    int    `json:"channels"`
	Fmtp        string `json:"fmtp,omitempty"`
}

func (f Format) rtpmap() string {
	s := strconv.Itoa(int(f.PayloadType)) + " " + f.Name + "/" + strconv.Itoa(f.ClockRate)
	if f.Channels > 1 {
		s += "/" + strconv.Itoa(f.Channels)
	}
	return s
}

const telephoneEvent = "telephone-event"

// parseDescription reads a session description. Its error wraps errMalformedSDP.
func parseDescription(body []byte) (description, error) {
	if err := checkSDPLimits(body); err != nil {
		return description{}, fmt.Errorf("%w: %w", errMalformedSDP, err)
	}
	var s sdp.SessionDescription
	if err := s.Unmarshal(body); err != nil {
		return description{}, fmt.Errorf("%w: %w", errMalformedSDP, err)
	}
	d := description{origin: s.Origin, audio: -1}
	session := sendrecv
	for _, a := range s.Attributes {
		if dir, ok := parseDirection(a.Key); ok {
			session = dir
		}
	}
	for i, m := range s.MediaDescriptions {
		c := m.ConnectionInformation
		if c == nil {
			c = s.ConnectionInformation
		}
		line, err := parseMedia(m, c, session)
		if err != nil {
			return description{}, fmt.Errorf("%w: m-line %d: %w", errMalformedSDP, i, err)
		}
		if d.audio < 0 && line.Kind == "audio" && line.port != 0 && (line.Proto == "RTP/AVP" || line.Proto == "RTP/AVPF") {
			d.audio = i
		}
		d.media = append(d.media, line)
	}
	if len(d.media) == 0 {
		return description{}, fmt.Errorf("%w: no m-line", errMalformedSDP)
	}
	return d, nil
}

func checkSDPLimits(body []byte) error {
	if len(body) > maxSDPSize {
		return fmt.Errorf("%d bytes", len(body))
	}
	media, attributes := 0, 0
	for line := range bytes.Lines(body) {
		if len(line) > maxSDPLine {
			return fmt.Errorf("a line of %d bytes", len(line))
		}
		switch line[0] {
		case 'm':
			media, attributes = media+1, 0
			if media > maxSDPMedia || bytes.Count(line, []byte{' '}) > maxSDPFormats+3 {
				return errors.New("too many m-lines or formats")
			}
		case 'a':
			if attributes++; attributes > maxSDPAttributes {
				return errors.New("too many attributes")
			}
		}
	}
	return nil
}

func parseMedia(m *sdp.MediaDescription, c *sdp.ConnectionInformation, session direction) (mediaLine, error) {
	line := mediaLine{
		Kind:      m.MediaName.Media,
		Proto:     strings.Join(m.MediaName.Protos, "/"),
		Formats:   m.MediaName.Formats,
		port:      m.MediaName.Port.Value,
		direction: session,
	}
	if line.port < 0 || line.port > 65535 {
		return line, fmt.Errorf("port %d", line.port)
	}
	if c == nil && line.port != 0 && line.Kind == "audio" {
		return line, errors.New("no connection address") // RFC 8866 5.7
	}
	if c != nil && c.Address != nil {
		host, _, _ := strings.Cut(c.Address.Address, "/")
		line.addr, _ = netip.ParseAddr(host)
		line.hold = line.addr.IsValid() && line.addr.IsUnspecified()
	}
	rtpmaps := make(map[string]string)
	fmtps := make(map[string]string)
	for _, a := range m.Attributes {
		switch a.Key {
		case "rtpmap", "fmtp":
			pt, value, _ := strings.Cut(strings.TrimSpace(a.Value), " ")
			if a.Key == "rtpmap" {
				rtpmaps[pt] = strings.TrimSpace(value)
			} else {
				fmtps[pt] = strings.TrimSpace(value)
			}
		case "ptime":
			line.ptime = parsePtime(a.Value, line.ptime)
		case "maxptime":
			line.maxptime = parsePtime(a.Value, line.maxptime)
		case "rtcp":
			line.rtcp = parseRTCP(a.Value, line.addr)
		default:
			if dir, ok := parseDirection(a.Key); ok {
				line.direction = dir
			}
		}
	}
	for _, f := range line.Formats {
		if format, ok := parseFormat(f, rtpmaps[f]); ok {
			format.Fmtp = fmtps[f]
			line.codecs = append(line.codecs, format)
		}
	}
	return line, nil
}

// parsePtime reads milliseconds; what makes no sense leaves them as they were.
func parsePtime(value string, before int) int {
	if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n > 0 && n <= 200 {
		return n
	}
	return before
}

// parseFormat reads a payload type with its rtpmap. The static types of RFC 3551 that we know need none.
func parseFormat(pt, rtpmap string) (Format, bool) {
	n, err := strconv.ParseUint(pt, 10, 7)
	if err != nil {
		return Format{}, false
	}
	f := Format{PayloadType: uint8(n), Channels: 1}
	if rtpmap == "" {
		c, ok := codec.ByPayloadType(f.PayloadType)
		f.Name, f.ClockRate = c.Name, c.ClockRate
		return f, ok
	}
	parts := strings.Split(rtpmap, "/")
	if len(parts) < 2 {
		return Format{}, false
	}
	f.Name = parts[0]
	if f.ClockRate, err = strconv.Atoi(strings.TrimSpace(parts[1])); err != nil || f.ClockRate <= 0 {
		return Format{}, false
	}
	if len(parts) > 2 {
		if c, err := strconv.Atoi(strings.TrimSpace(parts[2])); err == nil && c > 0 && c <= 8 {
			f.Channels = c
		}
	}
	return f, true
}

// parseRTCP reads a=rtcp:<port> [IN IP4 <address>] (RFC 3605).
func parseRTCP(value string, media netip.Addr) netip.AddrPort {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return netip.AddrPort{}
	}
	port, err := strconv.ParseUint(fields[0], 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}
	}
	if len(fields) >= 4 {
		if a, err := netip.ParseAddr(fields[3]); err == nil {
			media = a
		}
	}
	if !media.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(media, uint16(port))
}

// ourLine is the audio line that we describe.
type ourLine struct {
	addr      netip.Addr
	port      int
	formats   []Format
	direction direction
	ptime     int
}

// marshalDescription writes our session description: the m-lines of layout in their order, all but the audio one
// refused with port 0 (RFC 3264 6).
func marshalDescription(id, version uint64, layout []mediaLine, audio int, our ourLine) ([]byte, error) {
	family := "IP4"
	if our.addr.Is6() && !our.addr.Is4In6() {
		family = "IP6"
	}
	host := our.addr.Unmap().String()
	s := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: id, SessionVersion: version,
			NetworkType: "IN", AddressType: family, UnicastAddress: host,
		},
		SessionName: "-",
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: family, Address: &sdp.Address{Address: host},
		},
		TimeDescriptions: []sdp.TimeDescription{{}},
	}
	for i, l := range layout {
		m := &sdp.MediaDescription{MediaName: sdp.MediaName{
			Media: l.Kind, Protos: strings.Split(l.Proto, "/"), Formats: l.Formats,
		}}
		if i == audio {
			m.MediaName.Port.Value = our.port
			m.MediaName.Formats = nil
			for _, f := range our.formats {
				pt := strconv.Itoa(int(f.PayloadType))
				m.MediaName.Formats = append(m.MediaName.Formats, pt)
				m.Attributes = append(m.Attributes, sdp.NewAttribute("rtpmap", f.rtpmap()))
				if f.Fmtp != "" {
					m.Attributes = append(m.Attributes, sdp.NewAttribute("fmtp", pt+" "+f.Fmtp))
				}
			}
			m.Attributes = append(m.Attributes,
				sdp.NewAttribute("ptime", strconv.Itoa(our.ptime)),
				sdp.NewPropertyAttribute(our.direction.String()))
		}
		s.MediaDescriptions = append(s.MediaDescriptions, m)
	}
	b, err := s.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write session description: %w", err)
	}
	return b, nil
}
