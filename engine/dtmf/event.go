package dtmf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An Event is the payload of a telephone-event packet (RFC 4733 2.3).
type Event struct {
	Code     byte   // 0–9; 10 is '*', 11 '#', 12–15 'A'–'D', 16 a hook flash
	End      bool   // the event is over and Duration is final
	Volume   byte   // power below 0 dBm0, 0–63
	Duration uint16 // so far, in units of the RTP clock
}

// EventSize is the length of an Event on the wire.
const EventSize = 4

// Errors of what cannot be a key or a telephone-event.
var (
	ErrKey   = errors.New("not a telephone key")
	ErrShort = errors.New("telephone-event is shorter than 4 bytes")
)

// Unmarshal reads the first event of a payload. The reserved bit is ignored, as RFC 4733 2.3.4 asks.
func (e *Event) Unmarshal(payload []byte) error {
	if len(payload) < EventSize {
		return ErrShort
	}
	*e = Event{
		Code:     payload[0],
		End:      payload[1]&0x80 != 0,
		Volume:   payload[1] & 0x3F,
		Duration: binary.BigEndian.Uint16(payload[2:]),
	}
	return nil
}

// AppendTo appends the wire form to dst. A volume over 63 is sent as 63.
func (e Event) AppendTo(dst []byte) []byte {
	second := min(e.Volume, 63)
	if e.End {
		second |= 0x80
	}
	return append(dst, e.Code, second, byte(e.Duration>>8), byte(e.Duration))
}

// keys are the keys in the order of their event codes (RFC 4733 3.2).
const keys = "0123456789*#ABCD"

// KeyOf is the key of an event code; false if the event is none of the sixteen keys.
func KeyOf(code byte) (key byte, ok bool) {
	if int(code) >= len(keys) {
		return 0, false
	}
	return keys[code], true
}

// CodeOf is the event code of a key; 'a' to 'd' are taken as 'A' to 'D'.
func CodeOf(key byte) (code byte, ok bool) {
	if key >= 'a' && key <= 'd' {
		key -= 'a' - 'A'
	}
	for i := range len(keys) {
		if keys[i] == key {
			return byte(i), true
		}
	}
	return 0, false
}

// CheckDigits reports what in digits cannot be sent: all but the sixteen keys and 'w', a pause.
func CheckDigits(digits string) error {
	for i := range len(digits) {
		if _, ok := CodeOf(digits[i]); !ok && digits[i] != Pause {
			return fmt.Errorf("%w: %q (allowed are 0-9 * # A-D, and w for a pause)", ErrKey, digits[i])
		}
	}
	return nil
}
