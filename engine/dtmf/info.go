package dtmf

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
)

// Content types of a SIP INFO (RFC 6086) that carries a key.
const (
	typeRelay = "application/dtmf-relay"
	typePlain = "application/dtmf"
)

// Errors of an INFO body.
var (
	ErrContentType = errors.New("not a content type of DTMF") // to be answered with 415
	ErrInfo        = errors.New("malformed DTMF body")        // to be answered with 400
)

// maxInfo is more than any body that means one key.
const maxInfo = 256

// ParseInfo reads the key in the body of a SIP INFO: "Signal=5\r\nDuration=160" (application/dtmf-relay, the duration
// in milliseconds) or "5" (application/dtmf). It returns ErrContentType or ErrInfo.
func ParseInfo(contentType string, body []byte) (Digit, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && media == "" {
		return Digit{}, fmt.Errorf("%w: %q", ErrContentType, contentType)
	}
	if media != typeRelay && media != typePlain {
		return Digit{}, fmt.Errorf("%w: %q", ErrContentType, media)
	}
	if len(body) > maxInfo {
		return Digit{}, fmt.Errorf("%w: %d bytes", ErrInfo, len(body))
	}
	var signal, duration string
	if media == typePlain && !bytes.ContainsRune(body, '=') {
		signal = strings.TrimSpace(string(body))
	} else if signal, duration, err = relayFields(string(body)); err != nil {
		return Digit{}, err
	}
	key, ok := infoKey(signal)
	if !ok {
		return Digit{}, fmt.Errorf("%w: %w: %q", ErrInfo, ErrKey, signal)
	}
	d := Digit{Key: key, Method: Info}
	if duration != "" {
		ms, err := strconv.ParseUint(duration, 10, 16)
		if err != nil {
			return Digit{}, fmt.Errorf("%w: duration %q", ErrInfo, duration)
		}
		d.Duration = time.Duration(ms) * time.Millisecond
	}
	return d, nil
}

// relayFields reads the lines "Name=value"; other names are ignored.
func relayFields(body string) (signal, duration string, err error) {
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return "", "", fmt.Errorf("%w: line %q", ErrInfo, line)
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "signal":
			signal = strings.TrimSpace(value)
		case "duration":
			duration = strings.TrimSpace(value)
		}
	}
	return signal, duration, nil
}

// infoKey is the key that a Signal names, by itself or, as some phones do, by its event code.
func infoKey(signal string) (byte, bool) {
	switch len(signal) {
	case 1:
		code, ok := CodeOf(signal[0])
		if !ok {
			return 0, false
		}
		return KeyOf(code)
	case 2:
		code, err := strconv.ParseUint(signal, 10, 8)
		if err != nil || code < 10 {
			return 0, false
		}
		return KeyOf(byte(code))
	}
	return 0, false
}

// FormatInfo makes the body of a SIP INFO for d, a digit with a valid key. A duration of 0 is sent as DefaultDuration.
func FormatInfo(d Digit) (contentType string, body []byte) {
	if d.Duration <= 0 {
		d.Duration = DefaultDuration
	}
	return typeRelay, fmt.Appendf(nil, "Signal=%c\r\nDuration=%d\r\n", d.Key, d.Duration.Milliseconds())
}
