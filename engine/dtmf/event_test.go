package dtmf_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tipring/tipring/engine/dtmf"
)

func TestEventOnTheWire(t *testing.T) {
	for _, c := range []struct {
		event dtmf.Event
		wire  []byte
	}{
		{dtmf.Event{Code: 5, Volume: 10, Duration: 160}, []byte{5, 0x0A, 0x00, 0xA0}},
		{dtmf.Event{Code: 11, End: true, Volume: 63, Duration: 0xFFFF}, []byte{11, 0xBF, 0xFF, 0xFF}},
		{dtmf.Event{}, []byte{0, 0, 0, 0}},
	} {
		if got := c.event.AppendTo([]byte{9}); !bytes.Equal(got, append([]byte{9}, c.wire...)) {
			t.Errorf("%+v is written as %x", c.event, got)
		}
		var got dtmf.Event
		if err := got.Unmarshal(append(c.wire, 1, 2)); err != nil || got != c.event {
			t.Errorf("%x is read as %+v, %v", c.wire, got, err)
		}
	}
	var e dtmf.Event
	if err := e.Unmarshal([]byte{1, 0x40, 0, 1}); err != nil || e.End || e.Volume != 0 {
		t.Errorf("the reserved bit makes %+v, %v", e, err)
	}
	if err := e.Unmarshal([]byte{1, 2, 3}); !errors.Is(err, dtmf.ErrShort) {
		t.Errorf("three bytes: %v", err)
	}
	if got := (dtmf.Event{Volume: 200}).AppendTo(nil); got[1] != 63 {
		t.Errorf("volume 200 is written as %x", got)
	}
}

func TestKeysAndCodes(t *testing.T) {
	for code, key := range []byte("0123456789*#ABCD") {
		if got, ok := dtmf.KeyOf(byte(code)); !ok || got != key {
			t.Errorf("KeyOf(%d) = %c, %v", code, got, ok)
		}
		if got, ok := dtmf.CodeOf(key); !ok || int(got) != code {
			t.Errorf("CodeOf(%c) = %d, %v", key, got, ok)
		}
	}
	if got, ok := dtmf.CodeOf('c'); !ok || got != 14 {
		t.Errorf("CodeOf(c) = %d, %v", got, ok)
	}
	for _, code := range []byte{16, 17, 255} {
		if key, ok := dtmf.KeyOf(code); ok {
			t.Errorf("KeyOf(%d) = %c", code, key)
		}
	}
	for _, key := range []byte("e w\x00\xff,") {
		if code, ok := dtmf.CodeOf(key); ok {
			t.Errorf("CodeOf(%q) = %d", key, code)
		}
	}
}

func TestCheckDigits(t *testing.T) {
	for digits, ok := range map[string]bool{
		"": true, "0123456789*#ABCDabcd": true, "1w2": true, "12x": false, "1 2": false, "é": false, "+": false,
	} {
		if err := dtmf.CheckDigits(digits); (err == nil) != ok || err != nil && !errors.Is(err, dtmf.ErrKey) {
			t.Errorf("%q: %v", digits, err)
		}
	}
}
