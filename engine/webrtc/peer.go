package webrtc

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/rtp"
)

const (
	maxSDP        = 32 << 10        // bytes of a description
	gatherTimeout = 2 * time.Second // our own addresses are known: it takes milliseconds
)

// A peer is one peer connection with a page, answered by us. It carries an rtp.Session.
type peer struct {
	pc     *pion.PeerConnection
	ssrc   uint32
	params rtp.Params
	track  *track
}

// errSDP says that a page's description cannot be answered.
func errSDP(format string, args ...any) error { return engine.Errorf(codeBadSDP, format, args...) }

// answer makes the peer of an offer, with the first codec of prefer that is in it, and our description.
func (d *Door) answer(offer string, prefer []codec.Codec) (p *peer, sdp string, err error) {
	pc, err := d.api.NewPeerConnection(pion.Configuration{})
	if err != nil {
		return nil, "", fmt.Errorf("peer connection: %w", err)
	}
	p = &peer{pc: pc, track: newTrack()}
	defer func() {
		if err != nil {
			_ = pc.Close()
		}
	}()
	sender, err := pc.AddTrack(p.track)
	if err != nil {
		return nil, "", fmt.Errorf("peer connection: %w", err)
	}
	if e := sender.GetParameters().Encodings; len(e) > 0 {
		p.ssrc = uint32(e[0].SSRC)
	}
	if sdp, err = p.negotiate(offer, func() error { return p.choose(prefer) }); err != nil {
		return nil, "", err
	}
	p.params.Send, p.params.Receive = true, true
	go p.readRTCP(sender) // ends with the peer connection
	return p, sdp, nil
}

// negotiate answers an offer; choose is called between the two descriptions.
func (p *peer) negotiate(offer string, choose func() error) (string, error) {
	if len(offer) > maxSDP {
		return "", errSDP("the description is longer than %d bytes", maxSDP)
	}
	if err := p.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeOffer, SDP: offer}); err != nil {
		return "", errSDP("the offer cannot be taken: %v", err)
	}
	if err := choose(); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", errSDP("the offer cannot be answered: %v", err)
	}
	gathered := pion.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", errSDP("the offer cannot be answered: %v", err)
	}
	select {
	case <-gathered:
	case <-time.After(gatherTimeout):
	}
	return p.pc.LocalDescription().SDP, nil
}

// choose leaves one audio codec, the first of prefer that is offered, and the telephone-event of its clock: a browser that
// gets both sends its keys by the wrong one.
func (p *peer) choose(prefer []codec.Codec) error {
	for _, t := range p.pc.GetTransceivers() {
		if t.Kind() != pion.RTPCodecTypeAudio || t.Sender() == nil || t.Sender().Track() != p.track || t.Mid() == "" {
			continue // without a mid it is in no line of the offer
		}
		offered := t.Receiver().GetParameters().Codecs
		for _, want := range prefer {
			audio, ok := find(offered, want.Name, want.ClockRate)
			if !ok {
				continue
			}
			list := []pion.RTPCodecParameters{audio}
			event, ok := find(offered, "telephone-event", want.ClockRate)
			if ok {
				list = append(list, event)
			}
			if err := t.SetCodecPreferences(list); err != nil {
				return errSDP("%v", err)
			}
			pt := uint8(audio.PayloadType)
			p.params = rtp.Params{Codec: want, Fmtp: audio.SDPFmtpLine, SendPT: pt, RecvPT: pt}
			if ok {
				p.params.Events, p.params.EventClock = true, want.ClockRate
				p.params.EventSendPT, p.params.EventRecvPT = uint8(event.PayloadType), uint8(event.PayloadType)
			}
			return nil
		}
		return engine.Errorf(engine.CodeUnsupported, "the offer has none of the codecs of this call")
	}
	return errSDP("the offer has no audio")
}

func find(list []pion.RTPCodecParameters, name string, clock int) (pion.RTPCodecParameters, bool) {
	for _, c := range list {
		if strings.EqualFold(strings.TrimPrefix(c.MimeType, "audio/"), name) && int(c.ClockRate) == clock {
			return c, true
		}
	}
	return pion.RTPCodecParameters{}, false
}

// receive hands everything that comes to deliver, until the peer connection ends.
func (p *peer) receive(deliver func([]byte)) {
	p.track.deliver.Store(&deliver)
	p.pc.OnTrack(func(t *pion.TrackRemote, r *pion.RTPReceiver) {
		go func() { // ends with the peer connection
			buf := make([]byte, 1500)
			for {
				n, _, err := r.Read(buf)
				if err != nil {
					return
				}
				deliver(buf[:n])
			}
		}()
		buf := make([]byte, 1500)
		for {
			n, _, err := t.Read(buf)
			if err != nil {
				return
			}
			deliver(buf[:n])
		}
	})
}

// readRTCP hands on what the far end reports of our stream.
func (p *peer) readRTCP(s *pion.RTPSender) {
	buf := make([]byte, 1500)
	for {
		n, _, err := s.Read(buf)
		if err != nil {
			return
		}
		if f := p.track.deliver.Load(); f != nil {
			(*f)(buf[:n])
		}
	}
}

// SendRTP implements rtp.Transport.
func (p *peer) SendRTP(b []byte) error { return p.track.write(b) }

// SendRTCP implements rtp.Transport.
func (p *peer) SendRTCP(b []byte) error {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return err
	}
	return p.pc.WriteRTCP(packets)
}

// A track is what the page hears: packets that are made elsewhere.
type track struct {
	writer  atomic.Pointer[pion.TrackLocalWriter]
	deliver atomic.Pointer[func([]byte)]
}

var errUnbound = errors.New("webrtc: not connected")

func newTrack() *track { return new(track) }

func (t *track) write(b []byte) error {
	w := t.writer.Load()
	if w == nil {
		return errUnbound
	}
	_, err := (*w).Write(b)
	return err
}

// Bind implements pion's TrackLocal.
func (t *track) Bind(c pion.TrackLocalContext) (pion.RTPCodecParameters, error) {
	w := c.WriteStream()
	t.writer.Store(&w)
	for _, p := range c.CodecParameters() {
		if !strings.EqualFold(p.MimeType, "audio/telephone-event") {
			return p, nil
		}
	}
	return pion.RTPCodecParameters{}, pion.ErrUnsupportedCodec
}

// Unbind implements pion's TrackLocal.
func (t *track) Unbind(pion.TrackLocalContext) error {
	t.writer.Store(nil)
	return nil
}

// ID implements pion's TrackLocal.
func (*track) ID() string { return "audio" }

// RID implements pion's TrackLocal.
func (*track) RID() string { return "" }

// StreamID implements pion's TrackLocal.
func (*track) StreamID() string { return "tipring" }

// Kind implements pion's TrackLocal.
func (*track) Kind() pion.RTPCodecType { return pion.RTPCodecTypeAudio }
