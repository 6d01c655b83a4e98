// Package media moves audio: frames, the sources that give them and the lines that hear them, files and tones.
// It has no sockets, no goroutines and no logging; it runs in whatever thread pulls a source.
package media

import "github.com/tipring/tipring/engine/codec"

// A Line is the audio side of a leg. Its methods may be called from any goroutine, never block, and take effect at
// the next packet time.
type Line interface {
	// Hear sets what the far end hears; nil is comfort silence. The line pulls s once per packet time from a media
	// thread until it is replaced or returns an error (io.EOF when it is over); then silence follows.
	Hear(s Source)
	// Mic is what the far end says. It is the same Source every time. A line that hears another line's Mic with
	// the same codec relays packets on arrival.
	Mic() Source
	// Tap lets t listen to both directions until remove is called.
	Tap(t Tap) (remove func())
	// Mute silences a direction: In is what the far end says (nobody hears it), Out what it hears.
	Mute(d Direction, on bool)
	// Codec is the negotiated codec; the zero Codec before negotiation.
	Codec() codec.Codec
	// Quality is a copy of the line's figures so far.
	Quality() Quality
}

// A Source gives audio, one packet time per call.
type Source interface {
	// ReadFrame fills f with the next packet time. It never blocks. io.EOF says that the source is over; f is then
	// to be taken as silence. It is called by one goroutine at a time.
	ReadFrame(f *Frame) error
}

// A Tap listens to a line from a media thread: it must not block and must copy what it keeps.
type Tap interface {
	Frame(d Direction, f *Frame)
}

// A Gathering is a Source that belongs together with others: those whose Together is equal are pulled from one thread,
// one right after the other, where the lines can arrange it. Together is comparable.
type Gathering interface {
	Source
	Together() any
}

// A RatedTap is a Tap that wants PCM at a rate, in Hz; another Tap takes what the codec gives at 8 kHz.
type RatedTap interface {
	Tap
	Rate() int
}

// Direction is seen from the platform.
type Direction uint8

// In is what the far end says, Out is what it hears.
const (
	In Direction = iota + 1
	Out
)

// Quality holds the figures of a line.
type Quality struct {
	Codec           string  `json:"codec,omitempty"`     // "PCMU/8000"
	Path            string  `json:"path,omitempty"`      // "PCMU/8000 → PCMA/8000", as last heard
	Relayed         bool    `json:"relayed"`             // packets pass untouched
	PacketsReceived uint64  `json:"packets_received"`    // accepted from the locked source
	PacketsSent     uint64  `json:"packets_sent"`        //
	PacketsLost     uint64  `json:"packets_lost"`        // missing in what was received
	PacketsDropped  uint64  `json:"packets_dropped"`     // alien, malformed, late
	LossPercent     float64 `json:"loss_percent"`        // of what we received
	JitterMS        float64 `json:"jitter_ms"`           // RFC 3550 6.4.1
	RoundTripMS     float64 `json:"round_trip_ms"`       // from RTCP; 0 if unknown
	RemoteLoss      float64 `json:"remote_loss_percent"` // as the far end reports
	RemoteJitterMS  float64 `json:"remote_jitter_ms"`    //
	JitterBufferMS  float64 `json:"jitter_buffer_ms"`    // that packets wait for late ones; 0: nobody needs them in order
	ConcealedMS     uint64  `json:"concealed_ms"`        // of audio that was made up for what did not come in time
	MOS             float64 `json:"mos"`                 // E-model estimate, 1 to 4.5; 0 without packets
	RemoteAddress   string  `json:"remote_address,omitempty"`
	LocalAddress    string  `json:"local_address,omitempty"`
}
