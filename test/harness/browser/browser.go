// Package browser is a browser page in Go: the socket to /rtc, and a peer connection of pion that says a tone and measures what it
// hears.
package browser

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/websocket"
	pionrtp "github.com/pion/rtp"
	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

const patience = 30 * time.Second

// A Page is one page.
type Page struct {
	tb   testing.TB
	WS   *websocket.Conn
	got  chan map[string]any
	kept []map[string]any // that came while something else was awaited
	PC   *pion.PeerConnection

	Relays []pion.ICEServer // if set, the only way to the other side
	Bursts bool             // the voice comes and goes: 200 ms of tone, 300 ms of silence

	mu   sync.Mutex
	said []time.Time // when the first packet of each burst was sent
	pcm  []int16     // heard, at 8 kHz
	dec  codec.Decoder
	stop chan struct{}
}

// Connect opens the socket of a page and says hello.
func Connect(tb testing.TB, url string, header http.Header, hello map[string]any) (*Page, error) {
	tb.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		return nil, err
	}
	b := &Page{tb: tb, WS: ws, got: make(chan map[string]any, 256), stop: make(chan struct{})}
	go func() {
		defer close(b.got)
		for {
			var m map[string]any
			if err := ws.ReadJSON(&m); err != nil {
				return
			}
			b.got <- m
		}
	}()
	tb.Cleanup(func() { _ = ws.Close() })
	hello["type"] = "hello"
	if err := ws.WriteJSON(hello); err != nil {
		return nil, err
	}
	return b, nil
}

// Closed waits until the other side has closed the socket.
func (b *Page) Closed() {
	for range b.got {
	}
}

// Forget forgets what was heard so far.
func (b *Page) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pcm = nil
}

// Expect waits for a frame of a type; of events, of an event type. Others are kept.
func (b *Page) Expect(typ, event string) map[string]any {
	b.tb.Helper()
	fits := func(m map[string]any) map[string]any {
		if m["type"] != typ {
			return nil
		}
		if event == "" {
			return m
		}
		if e := m["event"].(map[string]any); e["type"] == event {
			return e
		}
		return nil
	}
	for i, m := range b.kept {
		if e := fits(m); e != nil {
			b.kept = append(b.kept[:i:i], b.kept[i+1:]...)
			return e
		}
	}
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-b.got:
			if !ok {
				b.tb.Fatalf("the socket is closed; %s %s was awaited", typ, event)
			}
			if err := inContract(m); err != nil {
				b.tb.Errorf("a frame that is not in the contract: %v: %v", m, err)
			}
			if e := fits(m); e != nil {
				return e
			}
			b.kept = append(b.kept, m)
		case <-deadline:
			b.tb.Fatalf("no %s %s", typ, event)
		}
	}
}

// frames is the schema of what pages get, read once per test process.
var frames = sync.OnceValues(func() (*openapi3.Schema, error) {
	_, file, _, _ := runtime.Caller(0)
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(filepath.Dir(file), "../../../openapi.yaml"))
	if err != nil {
		return nil, err
	}
	return doc.Components.Schemas["PageFrame"].Value, nil
})

// inContract checks a frame of the server against openapi.yaml.
func inContract(m map[string]any) error {
	schema, err := frames()
	if err != nil {
		return err
	}
	return schema.VisitJSON(m)
}

// Send sends a frame.
func (b *Page) Send(m map[string]any) {
	b.tb.Helper()
	if err := b.WS.WriteJSON(m); err != nil {
		b.tb.Fatal(err)
	}
}

// Command sends a command and waits for its reply.
func (b *Page) Command(action string, fields map[string]any) map[string]any {
	b.tb.Helper()
	m := map[string]any{"type": "command", "command_id": serial(), "action": action}
	maps.Copy(m, fields)
	b.Send(m)
	for {
		if r := b.Expect("reply", ""); r["command_id"] == m["command_id"] {
			return r
		}
	}
}

func opusCodec() codec.Codec {
	c, _ := codec.ByName("opus", 48_000)
	return c
}

// Offer makes a new peer connection that says a tone, and its offer.
func (b *Page) Offer(hz float64) string {
	t := b.tb
	t.Helper()
	var s pion.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	m := new(pion.MediaEngine)
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	for pt, clock := range map[pion.PayloadType]uint32{110: 48_000, 126: 8_000} {
		err := m.RegisterCodec(pion.RTPCodecParameters{
			PayloadType: pt, RTPCodecCapability: pion.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: clock},
		}, pion.RTPCodecTypeAudio)
		if err != nil {
			t.Fatal(err)
		}
	}
	pc, err := pion.NewAPI(pion.WithSettingEngine(s), pion.WithMediaEngine(m)).NewPeerConnection(b.configuration())
	if err != nil {
		t.Fatal(err)
	}
	b.PC = pc
	t.Cleanup(func() { _ = pc.Close() })
	track, err := pion.NewTrackLocalStaticRTP(pion.RTPCodecCapability{MimeType: "audio/opus", ClockRate: 48_000, Channels: 2}, "a", "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	b.stop = stop
	t.Cleanup(func() { b.Silence() })
	go b.talk(track, hz, stop)
	if b.dec, err = opusCodec().NewDecoderAt(8000); err != nil {
		t.Fatal(err)
	}
	pc.OnTrack(func(r *pion.TrackRemote, _ *pion.RTPReceiver) {
		for {
			p, _, err := r.ReadRTP()
			if err != nil {
				return
			}
			b.mu.Lock()
			if b.PC == pc {
				b.pcm, _ = b.dec.Decode(b.pcm, p.Payload)
			}
			b.mu.Unlock()
		}
	})
	o, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	return o.SDP // candidates are not waited for: the server learns ours from the checks
}

// Silence stops the voice.
func (b *Page) Silence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		select {
		case <-b.stop:
		default:
			close(b.stop)
		}
	}
}

func (b *Page) talk(track *pion.TrackLocalStaticRTP, hz float64, stop chan struct{}) {
	enc, err := opusCodec().NewEncoder()
	if err != nil {
		return
	}
	tone, silence := mediatest.Sine(8000, hz, -12, time.Second), make([]int16, 160)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		at := i * 160 % len(tone)
		frame := tone[at : at+160]
		if b.Bursts && i%25 >= 10 {
			frame = silence
		}
		payload, err := enc.(codec.RateEncoder).EncodeRate(nil, frame, 8000)
		if err != nil {
			return
		}
		if b.Bursts && i%25 == 0 {
			b.mu.Lock()
			b.said = append(b.said, time.Now())
			b.mu.Unlock()
		}
		_ = track.WriteRTP(&pionrtp.Packet{Header: pionrtp.Header{
			Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960,
		}, Payload: payload}) // not connected yet: lost
	}
}

// Said are the times at which bursts began.
func (b *Page) Said() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

// Take gives the peer connection the server's answer.
func (b *Page) Take(r map[string]any) {
	b.tb.Helper()
	if r["status"] != "accepted" {
		b.tb.Fatalf("%v", r)
	}
	if err := b.PC.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: r["sdp"].(string)}); err != nil {
		b.tb.Fatalf("%v\n%s", err, r["sdp"])
	}
}

// Hears waits until the page hears a tone.
func (b *Page) Hears(hz float64) {
	b.tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		b.mu.Lock()
		n := len(b.pcm)
		pcm := append([]int16(nil), b.pcm[max(0, n-4000):]...)
		b.mu.Unlock()
		if len(pcm) == 4000 && math.Abs(mediatest.Frequency(pcm, 8000)-hz) < 5 && mediatest.Level(pcm) > -18 {
			return
		}
		if time.Now().After(deadline) {
			b.tb.Fatalf("%.0f Hz is not heard; %.0f Hz at %.0f dBFS is, of %d samples", hz, mediatest.Frequency(pcm, 8000), mediatest.Level(pcm), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func serial() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (b *Page) configuration() pion.Configuration {
	if len(b.Relays) == 0 {
		return pion.Configuration{}
	}
	return pion.Configuration{ICEServers: b.Relays, ICETransportPolicy: pion.ICETransportPolicyRelay}
}
