package phone

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// An SDP is what a phone needs to know of a session description: the first audio stream, and how many streams there are.
type SDP struct {
	Session   uint64
	Version   uint64
	Addr      netip.Addr
	Port      int
	Direction string // "sendrecv", "sendonly", "recvonly", "inactive"
	Payloads  []Payload
	Streams   int // m= lines in all
	PTime     int // ms, 0 if not given
}

// A Payload is one format of the audio stream.
type Payload struct {
	PT   uint8
	Name string
	Rate int
}

// reading is a description being read line by line.
type reading struct {
	SDP
	media string // of the stream that lines belong to; "" before the first
	order []uint8
	names map[uint8]Payload
}

// ParseSDP reads a description.
func ParseSDP(s string) (SDP, error) {
	r := reading{SDP: SDP{Direction: "sendrecv"}, names: map[uint8]Payload{0: {0, "PCMU", 8000}, 8: {8, "PCMA", 8000}}}
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		if key, v, ok := strings.Cut(line, "="); ok {
			if err := r.line(key, v); err != nil {
				return SDP{}, err
			}
		}
	}
	if r.Streams == 0 {
		return SDP{}, errors.New("phone: a description without streams")
	}
	for _, pt := range r.order {
		if p, ok := r.names[pt]; ok {
			r.Payloads = append(r.Payloads, p)
		}
	}
	return r.SDP, nil
}

func (r *reading) line(key, v string) error {
	f := strings.Fields(v)
	audio := r.media == "" || r.media == "audio"
	switch {
	case key == "o" && len(f) == 6:
		r.Session, _ = strconv.ParseUint(f[1], 10, 64)
		r.Version, _ = strconv.ParseUint(f[2], 10, 64)
	case key == "c" && audio && len(f) == 3:
		r.Addr, _ = netip.ParseAddr(f[2])
	case key == "m":
		return r.stream(f)
	case key == "a" && audio:
		r.attribute(v, r.names)
	}
	return nil
}

// stream takes an m= line; the first audio stream is the one that counts.
func (r *reading) stream(f []string) error {
	if len(f) < 4 {
		return fmt.Errorf("phone: m= line %q", f)
	}
	r.Streams++
	if f[0] != "audio" || r.order != nil {
		r.media = "other"
		return nil
	}
	r.media = "audio"
	r.Port, _ = strconv.Atoi(f[1])
	for _, p := range f[3:] {
		n, _ := strconv.ParseUint(p, 10, 7)
		r.order = append(r.order, uint8(n))
	}
	return nil
}

func (d *SDP) attribute(v string, names map[uint8]Payload) {
	switch v {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		d.Direction = v
	}
	if p, ok := strings.CutPrefix(v, "ptime:"); ok {
		d.PTime, _ = strconv.Atoi(p)
	}
	if m, ok := strings.CutPrefix(v, "rtpmap:"); ok {
		pt, enc, _ := strings.Cut(m, " ")
		name, rate, _ := strings.Cut(enc, "/")
		rate, _, _ = strings.Cut(rate, "/")
		n, _ := strconv.ParseUint(pt, 10, 7)
		hz, _ := strconv.Atoi(rate)
		names[uint8(n)] = Payload{uint8(n), name, hz}
	}
}

// Payload finds a format by name.
func (d SDP) Payload(name string) (Payload, bool) {
	for _, p := range d.Payloads {
		if strings.EqualFold(p.Name, name) {
			return p, true
		}
	}
	return Payload{}, false
}

// String writes the description; streams behind the first are refused (port 0).
func (d SDP) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=phone %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP", d.Session, d.Version, d.Addr, d.Addr, d.Port)
	for _, p := range d.Payloads {
		fmt.Fprintf(&b, " %d", p.PT)
	}
	b.WriteString("\r\n")
	for _, p := range d.Payloads {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/%d\r\n", p.PT, p.Name, p.Rate)
		if p.Name == "telephone-event" {
			fmt.Fprintf(&b, "a=fmtp:%d 0-16\r\n", p.PT)
		}
	}
	if d.PTime > 0 {
		fmt.Fprintf(&b, "a=ptime:%d\r\n", d.PTime)
	}
	b.WriteString("a=" + d.Direction + "\r\n")
	for range d.Streams - 1 {
		b.WriteString("m=video 0 RTP/AVP 99\r\n")
	}
	return b.String()
}

// complement is the direction that answers another (RFC 3264 6.1).
func complement(direction string) string {
	switch direction {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	}
	return direction
}
