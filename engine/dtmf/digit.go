// Package dtmf reads and writes telephone keys: RFC 4733 events, SIP INFO bodies, and the collecting of digits.
// It has no clock of its own: time is an argument.
package dtmf

import "time"

// A Digit is one press of a key.
type Digit struct {
	Key      byte          // '0'…'9', '*', '#', 'A'…'D'
	Duration time.Duration // zero if unknown
	Method   Method
}

// Method is the way a digit came.
type Method string

// The ways of a digit.
const (
	RFC4733 Method = "rfc4733"
	Info    Method = "info"
	InBand  Method = "inband"
)
