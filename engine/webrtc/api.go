package webrtc

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	pion "github.com/pion/webrtc/v4"
)

// Times of ICE: a browser that is gone is noticed, one that changes its network has time to come back.
const (
	iceDisconnected = 5 * time.Second
	iceFailed       = 20 * time.Second
	iceKeepalive    = 2 * time.Second
	tcpWriteBuffer  = 256 << 10 // of a slow browser on TCP; what is over is dropped, nobody waits
)

// Listen says where browsers' media arrives.
type Listen struct {
	Addr      netip.AddrPort // one UDP port, and the TCP port of the same number; unspecified: all addresses
	Advertise []string       // addresses that pages are told in the place of ours (behind NAT 1:1)
	Loopback  bool           // pages on this machine
	Lite      bool           // ICE-lite: we have a public address and only answer checks (RFC 8445 2.5)
}

// listener is what a Listen opened.
type listener struct {
	api   *pion.API
	addr  netip.AddrPort // of UDP
	close func() error
}

// open opens the ports and makes the API of pion that uses them, with our codecs and without interceptors: reports and
// statistics are rtp's.
func (l Listen) open() (listener, error) {
	udp, addr, err := l.udp()
	if err != nil {
		return listener{}, fmt.Errorf("webrtc_listen: %w", err)
	}
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(l.Addr))
	if err != nil {
		_ = udp.Close()
		return listener{}, fmt.Errorf("webrtc_listen: %w", err)
	}
	mux := ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: tcp, ReadBufferSize: 64, WriteBufferSize: tcpWriteBuffer})
	var s pion.SettingEngine
	s.SetICEUDPMux(udp)
	s.SetICETCPMux(mux)
	s.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4, pion.NetworkTypeUDP6, pion.NetworkTypeTCP4, pion.NetworkTypeTCP6})
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepalive)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(l.Loopback)
	s.SetLite(l.Lite)
	s.DisableActiveTCP(true)
	if !l.Addr.Addr().IsUnspecified() {
		s.SetIPFilter(func(ip net.IP) bool { return ip.Equal(net.IP(l.Addr.Addr().AsSlice())) })
	}
	if len(l.Advertise) > 0 {
		err := s.SetICEAddressRewriteRules(pion.ICEAddressRewriteRule{External: l.Advertise, AsCandidateType: pion.ICECandidateTypeHost})
		if err != nil {
			return listener{}, fmt.Errorf("webrtc_advertise: %w", err)
		}
	}
	m := new(pion.MediaEngine)
	for _, c := range codecs() {
		if err := m.RegisterCodec(c, pion.RTPCodecTypeAudio); err != nil {
			return listener{}, fmt.Errorf("webrtc: codec %s: %w", c.MimeType, err)
		}
	}
	api := pion.NewAPI(pion.WithMediaEngine(m), pion.WithSettingEngine(s), pion.WithInterceptorRegistry(new(interceptor.Registry)))
	return listener{api: api, addr: addr, close: func() error {
		_ = mux.Close()
		return udp.Close()
	}}, nil
}

func (l Listen) udp() (ice.UDPMux, netip.AddrPort, error) {
	if !l.Addr.Addr().IsUnspecified() {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.Addr))
		if err != nil {
			return nil, l.Addr, err
		}
		return pion.NewICEUDPMux(nil, conn), conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
	}
	var o []ice.UDPMuxFromPortOption
	if l.Loopback {
		o = append(o, ice.UDPMuxFromPortWithLoopback())
	}
	mux, err := ice.NewMultiUDPMuxFromPort(int(l.Addr.Port()), o...)
	return mux, l.Addr, err
}

// codecs are those that browsers have and we too, under the numbers that browsers like.
func codecs() []pion.RTPCodecParameters {
	row := func(pt uint8, name string, clock uint32, channels uint16, fmtp string) pion.RTPCodecParameters {
		return pion.RTPCodecParameters{
			PayloadType:        pion.PayloadType(pt),
			RTPCodecCapability: pion.RTPCodecCapability{MimeType: "audio/" + name, ClockRate: clock, Channels: channels, SDPFmtpLine: fmtp},
		}
	}
	return []pion.RTPCodecParameters{
		row(111, "opus", 48_000, 2, "minptime=10;useinbandfec=1"),
		row(9, "G722", 8_000, 0, ""),
		row(0, "PCMU", 8_000, 0, ""),
		row(8, "PCMA", 8_000, 0, ""),
		row(110, "telephone-event", 48_000, 0, ""),
		row(126, "telephone-event", 8_000, 0, ""),
	}
}
