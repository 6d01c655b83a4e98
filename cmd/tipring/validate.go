package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// validate looks at what single values cannot tell. Its errors say which setting is wrong and what to write.
func (c *Config) validate() []error {
	var errs []error
	check := func(name string, ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
		}
	}
	addresses := map[string]string{}
	for _, l := range []struct{ name, address string }{
		{"http_listen", c.HTTPListen}, {"admin_listen", c.AdminListen}, {"sip_listen", c.SIPListen},
	} {
		err := checkListen(l.address)
		check(l.name, err == nil, "%w", err)
		if l.name != "sip_listen" && !strings.HasSuffix(l.address, ":0") {
			other := addresses[l.address]
			check(l.name, other == "", "%s is taken by %s: choose another port", l.address, other)
			addresses[l.address] = l.name
		}
	}
	check("api_key", c.APIKey == "" || len(c.APIKey) >= 16,
		"the secret has %d characters, fewer than 16: make one with: openssl rand -hex 20", len(c.APIKey))
	check("api_key", strings.IndexFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) < 0,
		"the secret has characters that no HTTP header takes: use letters and digits")
	for _, o := range c.APIOrigins {
		u, err := url.Parse(o)
		check("api_origins", err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Path == "",
			"%q is no origin: write https://app.example.com, without a path", o)
	}
	check("sip_advertise", c.SIPAdvertise == "" || checkHost(c.SIPAdvertise),
		"%q is no host or host:port", c.SIPAdvertise)
	check("sip_session_expires", c.SIPSessionExpires >= 90*time.Second, "%v is under 90s, the least of RFC 4028", c.SIPSessionExpires)
	check("log_format", c.LogFormat == "auto" || c.LogFormat == "json" || c.LogFormat == "text",
		"%q is none of auto, json, text", c.LogFormat)
	check("user_agent", strings.IndexFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) < 0,
		"%q has characters that no header takes", c.UserAgent)
	check("rtp_ports", c.RTPPorts.First >= 1024 && c.RTPPorts.Last <= 65535 && c.RTPPorts.Last-c.RTPPorts.First >= 3,
		"%d-%d is no range for calls: it is to have at least 4 ports, from 1024 to 65535", c.RTPPorts.First, c.RTPPorts.Last)
	check("rtp_bind", c.RTPBind.IsValid(), "is empty: write 0.0.0.0 for all addresses")
	c.validateAudio(check)
	check("data_dir", c.DataDir != "", "is empty: name a folder")
	for _, n := range []struct {
		name  string
		value float64
	}{
		{"max_calls", float64(c.MaxCalls)}, {"media_threads", float64(c.MediaThreads)}, {"shutdown_grace", float64(c.ShutdownGrace)},
	} {
		check(n.name, n.value >= 0, "is negative")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"retention", c.Retention},
		{"media_timeout", c.MediaTimeout},
		{"max_call_duration", c.MaxCallDuration},
		{"answer_timeout", c.AnswerTimeout},
		{"ask_timeout", c.AskTimeout},
		{"webhook_timeout", c.WebhookTimeout},
	} {
		check(d.name, d.value > 0, "is to be longer than nothing: write a duration such as 30s")
	}
	check("media_max_bytes", c.MediaMaxBytes > 0, "is to be more than 0")
	if c.MediaDir != "" {
		info, err := os.Stat(c.MediaDir)
		check("media_dir", err == nil && info.IsDir(), "%s is no folder: make it first", c.MediaDir)
	}
	return errs
}

// validateAudio looks at the settings of codecs and recordings.
func (c *Config) validateAudio(check func(name string, ok bool, format string, args ...any)) {
	for _, name := range c.Codecs {
		_, known := audioCodec(name)
		check("codecs", known, "%q is none of %s", name, strings.Join(audioCodecs(), ", "))
	}
	check("codecs", len(c.Codecs) > 0, "is empty: name one of %s at least", strings.Join(audioCodecs(), ", "))
	check("opus_complexity", c.OpusComplexity >= 0 && c.OpusComplexity <= 10, "%d is not within 0 and 10", c.OpusComplexity)
	check("opus_bitrate", c.OpusBitrate == 0 || c.OpusBitrate >= 6000 && c.OpusBitrate <= 510_000,
		"%d is not within 6000 and 510000", c.OpusBitrate)
	check("opus_fec_loss", c.OpusFECLoss >= -1 && c.OpusFECLoss <= 100, "%g is not within -1 and 100", c.OpusFECLoss)
	check("recordings_keep", c.RecordingsKeep >= 0, "%v is negative", c.RecordingsKeep)
	check("recordings_min_free", c.RecordingsMinFree >= 0, "%d is negative", c.RecordingsMinFree)
}

// checkListen wants host:port with a port in numbers; the host may be missing.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is no address to listen at: write host:port, or :port for all addresses", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is no port: write a number up to 65535", port)
	}
	if strings.ContainsAny(host, " /") {
		return errors.New("the host has characters that no host has")
	}
	return nil
}

// checkHost reports whether s is a host, an address, or either with a port.
func checkHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, "1"
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 65536 && host != "" && !strings.ContainsAny(host, " :/@;?\"<>")
}

// isLoopback reports whether an address to listen at is reached from this machine alone.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
