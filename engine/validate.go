package engine

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Limits of commands.
const (
	maxInstructions = 200
	maxHeaders      = 32
	maxState        = 4096 // bytes of client_state
	maxDigits       = 128
)

// Validate checks the values of a command. Placeholders ("{digits}") count as valid; instructions are checked again
// when they run.
func Validate(cmd Command) error {
	switch c := cmd.(type) {
	case *Originate:
		return c.validate()
	case *Bridge:
		return c.validate()
	case *Gather:
		return c.validate()
	case *Play:
		return c.validate()
	case *SeekPlayback:
		return c.validate()
	case *Join:
		return c.validate()
	case *StartRecording:
		return c.validate()
	case *PauseRecording:
		return oneOf("/fill", c.Fill, "", "silence", "cut")
	case *OpenConference:
		return first(name("/name", c.Name, false), c.validate(""))
	case ConferenceAction:
		return validateConferenceAction(c)
	case *Hold:
		return source("/music", c.Music, false)
	case *Reject:
		if c.Status != 0 {
			if err := within("/status", c.Status, 300, 699); err != nil {
				return err
			}
		}
		return headers("/headers", c.Headers)
	case *Hangup:
		return c.validate()
	case *Mute:
		return oneOf("/direction", c.Direction, "", "in", "out", "both")
	case *Unmute:
		return oneOf("/direction", c.Direction, "", "in", "out", "both")
	case *SendDTMF:
		return digits("/digits", c.Digits)
	case *Echo:
		return within("/duration_ms", c.DurationMS, 0, 24*3600*1000)
	case *Wait:
		return within("/duration_ms", c.DurationMS, 1, 24*3600*1000)
	case *Run:
		return validateAll(c.Instructions.Instructions)
	}
	return nil
}

// ValidateInstructions checks a list that is to be stored.
func ValidateInstructions(list []Instruction) error { return validateAll(list) }

func validateAll(list []Instruction) error {
	if len(list) > maxInstructions {
		return Errorf(CodeValidation, "%d instructions are more than %d", len(list), maxInstructions)
	}
	for i, ins := range list {
		if ins.Action == nil {
			return Invalid(fmt.Sprintf("/instructions/%d", i), "an instruction is an object with an action")
		}
		if err := Validate(ins.Action); err != nil {
			return at(err, fmt.Sprintf("/instructions/%d", i))
		}
	}
	return nil
}

func (c *Originate) validate() error {
	if c.ApplicationID != "" && c.WebhookURL != "" {
		return Invalid("/webhook_url", "give application_id or webhook_url, not both")
	}
	return first(
		address("/to", c.To, true), address("/from", c.From, false), within("/ring_timeout_s", c.RingTimeoutS, 0, 600),
		within("/max_duration_s", c.MaxDurationS, 0, 86400), headers("/headers", c.Headers), state(c.ClientState),
		oneOf("/on_idle", string(c.OnIdle), "", "hangup", "wait"), webhook("/webhook_url", c.WebhookURL),
		codecNames(c.Codecs), validateAll(c.Instructions),
	)
}

func (c *Bridge) validate() error {
	switch {
	case (c.With == "") == (c.To == ""):
		return Invalid("/with", "give with (a call) or to (an address to dial)")
	case c.With != "" && c.With == c.CallID:
		return Invalid("/with", "a call cannot be bridged with itself")
	}
	if err := first(
		address("/to", c.To, false), address("/from", c.From, false), within("/ring_timeout_s", c.RingTimeoutS, 0, 600),
		headers("/headers", c.Headers), state(c.ClientState), oneOf("/on_peer_hangup", string(c.OnPeerHangup), "", "continue", "hangup"),
		codecNames(c.Codecs),
	); err != nil {
		return err
	}
	if c.Ringback == "none" {
		return nil
	}
	return source("/ringback", c.Ringback, false)
}

func (a *Gather) validate() error {
	least, most := orDefault(a.MinDigits, 1), orDefault(a.MaxDigits, 32)
	if err := first(
		within("/min_digits", a.MinDigits, 0, maxDigits), within("/max_digits", a.MaxDigits, 0, maxDigits),
		within("/timeout_ms", a.TimeoutMS, 0, 600_000), within("/inter_digit_timeout_ms", a.InterDigitTimeout, 0, 600_000),
	); err != nil {
		return err
	}
	if least > most {
		return Invalid("/min_digits", "min_digits is %d, but max_digits is %d", least, most)
	}
	if a.FinishOnKey != "none" && strings.Trim(a.FinishOnKey, "0123456789*#ABCD") != "" {
		return Invalid("/finish_on_key", `take keys of 0-9*#A-D, or "none"`)
	}
	if a.Prompt != nil {
		return first(within("/prompt/loop", a.Prompt.Loop, -1, 10_000), source("/prompt/url", a.Prompt.URL, true))
	}
	return nil
}

func (c *Hangup) validate() error {
	return oneOf("/cause", string(c.Cause), "", string(ReasonNormal), string(ReasonBusy), string(ReasonRejected),
		string(ReasonNoAnswer), string(ReasonUnavailable), string(ReasonNotFound), string(ReasonCancelled))
}

// at puts pointer before the error's own.
func at(err error, pointer string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Code: e.Code, Message: e.Message, Pointer: pointer + e.Pointer}
	}
	return err
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckCodecs checks a list of codecs as far as that is possible without knowing them.
func CheckCodecs(list []string) error { return codecNames(list) }

// codecNames checks a list of codecs as far as that is possible without knowing them.
func codecNames(list []string) error {
	if len(list) > 8 {
		return Invalid("/codecs", "%d codecs are more than 8", len(list))
	}
	for i, c := range list {
		if c == "" || len(c) > 32 {
			return Invalid(fmt.Sprintf("/codecs/%d", i), `is no codec: write "opus", "G722", "PCMU" or "PCMA"`)
		}
	}
	return nil
}

func within(pointer string, v, least, most int) error {
	if v < least || v > most {
		return Invalid(pointer, "%d is not within %d and %d", v, least, most)
	}
	return nil
}

func oneOf(pointer, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return Invalid(pointer, "%q is none of %s", v, strings.Trim(strings.Join(allowed, ", "), ", "))
}

func placeholder(v string) bool { return strings.Contains(v, "{") }

func address(pointer, v string, required bool) error {
	switch {
	case v == "" && required:
		return Invalid(pointer, "is required: sip:user@host, +4930123 or client:name")
	case v == "" || placeholder(v):
		return nil
	}
	if _, err := ParseAddress(v); err != nil {
		return at(err, pointer)
	}
	return nil
}

// source checks a play URL as far as that is possible without looking.
func source(pointer, v string, required bool) error {
	switch {
	case v == "" && required:
		return Invalid(pointer, "is required: https://…, file:name.wav or tone:440/1000")
	case v == "" || placeholder(v):
		return nil
	case len(v) > 2048:
		return Invalid(pointer, "is longer than 2048 characters")
	case strings.HasPrefix(v, "tone:"), strings.HasPrefix(v, "file:"):
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Invalid(pointer, "%q is no source: write https://…, file:name.wav or tone:440/1000", v)
	}
	return nil
}

func webhook(pointer, v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ws" && u.Scheme != "wss" {
		return Invalid(pointer, "%q is no http(s):// or ws(s):// URL", v)
	}
	return nil
}

func headers(pointer string, h map[string]string) error {
	if len(h) > maxHeaders {
		return Invalid(pointer, "%d headers are more than %d", len(h), maxHeaders)
	}
	for name, value := range h {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!%*+`'~") != "" {
			return Invalid(pointer, "%q is no header name", name)
		}
		if strings.ContainsAny(value, "\r\n\x00") || len(value) > 1024 {
			return Invalid(pointer+"/"+name, "has a line break, or is longer than 1024 bytes")
		}
	}
	return nil
}

func state(v string) error {
	if len(v) > maxState {
		return Invalid("/client_state", "is longer than %d bytes", maxState)
	}
	return nil
}

func digits(pointer, v string) error {
	if placeholder(v) {
		return nil
	}
	if v == "" || len(v) > maxDigits || strings.Trim(v, "0123456789*#ABCDw") != "" {
		return Invalid(pointer, "take 1 to %d keys of 0-9*#A-D; w waits half a second", maxDigits)
	}
	return nil
}
