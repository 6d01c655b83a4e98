package codec_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

func TestByName(t *testing.T) {
	for _, c := range []struct {
		name  string
		clock int
		want  string // "" if there is none
	}{
		{"PCMU", 8000, "PCMU/8000"},
		{"pcma", 8000, "PCMA/8000"},
		{"Telephone-Event", 8000, "telephone-event/8000"},
		{"CN", 8000, "CN/8000"},
		{"telephone-event", 48000, "telephone-event/48000"},
		{"Opus", 48000, "opus/48000/2"},
		{"opus", 8000, ""},
		{"PCMU", 16000, ""},
		{"G729", 8000, ""},
		{"", 8000, ""},
	} {
		got, ok := codec.ByName(c.name, c.clock)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("ByName(%q, %d) = %v, %v; want %q", c.name, c.clock, got, ok, c.want)
		}
	}
}

func TestByPayloadType(t *testing.T) {
	for pt, want := range map[uint8]string{0: "PCMU", 8: "PCMA", 13: "CN", 3: "", 18: "", 101: "", 127: ""} {
		got, ok := codec.ByPayloadType(pt)
		if ok != (want != "") || got.Name != want {
			t.Errorf("ByPayloadType(%d) = %v, %v; want %q", pt, got, ok, want)
		}
	}
}

func TestTableRowsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, c := range codec.Table() {
		if names[c.String()] {
			t.Errorf("%v is there twice", c)
		}
		names[c.String()] = true
		if c.ClockRate == 0 || c.Channels == 0 {
			t.Errorf("%+v has no clock or no channels", c)
		}
		_, encErr := c.NewEncoder()
		_, decErr := c.NewDecoder()
		if _, err := c.NewDecoderAt(16000); (err == nil) != c.Audio() {
			t.Errorf("%v at 16 kHz: %v", c, err)
		}
		if d := c.Duration(c.AppendSilence(nil, 20)); (d == 20*time.Millisecond) != c.Audio() {
			t.Errorf("%v: 20 ms of silence last %v", c, d)
		}
		if b := c.Bytewise(); b && c.Duration([]byte{c.Silence()}) != time.Second/time.Duration(c.ClockRate) {
			t.Errorf("%v is bytewise, but a byte lasts %v", c, c.Duration([]byte{c.Silence()}))
		}
		if c.Audio() {
			if encErr != nil || decErr != nil {
				t.Errorf("%v: encoder %v, decoder %v", c, encErr, decErr)
			}
			continue
		}
		if !errors.Is(encErr, codec.ErrNotAudio) || !errors.Is(decErr, codec.ErrNotAudio) {
			t.Errorf("%v carries no audio, but: encoder %v, decoder %v", c, encErr, decErr)
		}
	}
	if _, err := (codec.Codec{}).NewDecoder(); !errors.Is(err, codec.ErrNotAudio) {
		t.Errorf("the zero codec: %v", err)
	}
}

func TestTableIsTheCallers(t *testing.T) {
	codec.Table()[0].Name = "spoiled"
	if got := codec.Table()[0].Name; got != "PCMU" {
		t.Errorf("a caller changed the table: %q", got)
	}
}

func TestSilence(t *testing.T) {
	for _, name := range []string{"PCMU", "PCMA"} {
		c, _ := codec.ByName(name, 8000)
		dec, err := c.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]byte{"PCMU": 0xFF, "PCMA": 0xD5}[name]; c.Silence() != want {
			t.Errorf("%v: silence is %#x, want %#x", c, c.Silence(), want)
		}
		payload := c.AppendSilence([]byte{1}, 20)
		if len(payload) != 161 || payload[0] != 1 {
			t.Fatalf("%v: %d bytes, begins with %d", c, len(payload), payload[0])
		}
		if !bytes.Equal(payload[1:], bytes.Repeat([]byte{c.Silence()}, 160)) {
			t.Errorf("%v: silence is not %#x all over", c, c.Silence())
		}
		pcm, err := dec.Decode(nil, payload[1:])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range pcm {
			if s < -8 || s > 8 {
				t.Fatalf("%v: silence decodes to %d", c, s)
			}
		}
	}
	event, _ := codec.ByName("telephone-event", 8000)
	if got := event.AppendSilence(nil, 20); len(got) != 0 {
		t.Errorf("telephone-event has %d bytes of silence", len(got))
	}
}

// The clock of a codec and of an event that goes with it must be one (RFC 4733 2.1).
func TestEveryClockHasEvents(t *testing.T) {
	for _, c := range codec.Table() {
		if event, ok := codec.ByName("telephone-event", c.ClockRate); !ok || event.Audio() {
			t.Errorf("%v has no telephone-event of its clock", c)
		}
	}
}

func TestOpusDuration(t *testing.T) {
	c, _ := codec.ByName("opus", 48000)
	for name, p := range map[string]struct {
		payload []byte
		want    time.Duration
	}{
		"nothing":                       {nil, 0},
		"SILK 10 ms":                    {[]byte{0 << 3, 1}, 10 * time.Millisecond},
		"SILK 60 ms":                    {[]byte{11 << 3, 1}, 60 * time.Millisecond},
		"hybrid 20 ms":                  {[]byte{13 << 3, 1}, 20 * time.Millisecond},
		"CELT 2.5 ms":                   {[]byte{28 << 3, 1}, 2500 * time.Microsecond},
		"a frame of nothing":            {[]byte{31 << 3}, 20 * time.Millisecond},
		"two of one size":               {[]byte{31<<3 | 1, 1, 1}, 40 * time.Millisecond},
		"two of one size, odd":          {[]byte{31<<3 | 1, 1, 1, 1}, 0},
		"two of two sizes":              {[]byte{31<<3 | 2, 1, 1, 1, 1}, 40 * time.Millisecond},
		"two of two sizes, too short":   {[]byte{31<<3 | 2, 4, 1, 1}, 0},
		"six":                           {[]byte{31<<3 | 3, 6, 1, 1, 1, 1, 1, 1}, 120 * time.Millisecond},
		"seven":                         {[]byte{31<<3 | 3, 7, 1, 1, 1, 1, 1, 1, 1}, 0},
		"none":                          {[]byte{31<<3 | 3, 0}, 0},
		"no count":                      {[]byte{31<<3 | 3}, 0},
		"padded":                        {[]byte{31<<3 | 3, 0x41, 2, 9, 0, 0}, 20 * time.Millisecond},
		"more padding than there is":    {[]byte{31<<3 | 3, 0x41, 9, 1, 0, 0}, 0},
		"sizes of each":                 {[]byte{31<<3 | 3, 0x83, 1, 2, 9, 9, 9, 9}, 60 * time.Millisecond},
		"sizes of each, not all there":  {[]byte{31<<3 | 3, 0x83, 5, 2, 9}, 0},
		"one frame beyond all measures": {append([]byte{31 << 3}, make([]byte, 1276)...), 0},
	} {
		if got := c.Duration(p.payload); got != p.want {
			t.Errorf("%s: %v, want %v", name, got, p.want)
		}
	}
}
