package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is every setting of the program. A field's name tag is its key in the file; in the environment it is
// TIPRING_ and the name in capitals, as a flag the name with dashes. Its default tag is its value if nothing sets it, dev
// the same under --dev; group parts the sample, help is its sentence.
type Config struct {
	HTTPListen string   `name:"http_listen" group:"API" default:":8080" dev:"127.0.0.1:8080" help:"Address of the API, its documentation and /v1/stream: host:port, or :port for all addresses."`
	APIKey     string   `name:"api_key" secret:"true" default:"" help:"Secret of an API key that may do everything, made at start in place of the one set before. 16 characters or more. Empty: none is made; what was set before stays."`
	APIRate    float64  `name:"api_rate" default:"500" help:"Requests per second and key, with bursts of twice that. -1: no limit."`
	APIOrigins []string `name:"api_origins" default:"" help:"Web origins (https://app.example.com) whose scripts may call the API and connect to /v1/stream. Empty: none but the server's own."`

	Console bool `name:"console" default:"true" help:"Whether /console/ is served: a page that shows calls and what happened in them. Who uses it signs in with an API key."`

	AdminListen   string        `name:"admin_listen" group:"Operation" default:"127.0.0.1:9090" help:"Address of /metrics, /healthz, /readyz and /debug/pprof. It asks for no key: keep it on loopback or a network of your own."`
	Node          string        `name:"node" default:"" help:"Name of this node in events and call records. Empty: the host's name."`
	DataDir       string        `name:"data_dir" default:"data" dev:".tipring" help:"Folder of the store and of the media folder. One process uses it at a time."`
	Retention     time.Duration `name:"retention" default:"72h" help:"How long events and the records of ended calls are kept."`
	CallTimeline  bool          `name:"call_timeline" default:"true" help:"Whether calls keep their commands, SIP messages and figures of audio for GET /v1/calls/{call_id}/timeline: some KiB per call."`
	ShutdownGrace time.Duration `name:"shutdown_grace" default:"30s" dev:"0s" help:"How long live calls may go on after SIGTERM before they are ended. A second signal ends them at once."`

	LogLevel   slog.Level `name:"log_level" group:"Logging" default:"info" help:"debug, info, warn or error."`
	LogFormat  string     `name:"log_format" default:"auto" help:"json, text, or auto: text on a terminal, else json."`
	LogNumbers bool       `name:"log_numbers" default:"false" dev:"true" help:"Whether phone numbers stand in log lines in full, not as +4930*******89. Secrets never do."`

	SIPListen         string         `name:"sip_listen" group:"SIP" default:":5060" dev:"127.0.0.1:5060" help:"Address for SIP over UDP and TCP."`
	SIPAdvertise      string         `name:"sip_advertise" default:"" help:"Host or host:port that peers reach this node by (behind a NAT: the public one). Empty: the local address that routes to the peer."`
	SIPSessionExpires time.Duration  `name:"sip_session_expires" default:"30m" help:"Session interval that we ask for (RFC 4028): a call whose peer is gone ends after it. 90s or more."`
	SIPRate           float64        `name:"sip_rate" default:"200" help:"New SIP requests per second and source address, with bursts of five times that. -1: no limit. Loopback has none."`
	SIPExempt         []netip.Prefix `name:"sip_exempt" default:"" help:"Networks (192.0.2.0/24) without that limit, such as your trunks."`
	UserAgent         string         `name:"user_agent" default:"Tipring" help:"How the program names itself to SIP peers and HTTP servers."`

	RTPPorts      PortRange     `name:"rtp_ports" group:"Media" default:"10000-19999" help:"UDP ports for audio, first-last. A call's leg takes two."`
	RTPBind       netip.Addr    `name:"rtp_bind" default:"0.0.0.0" dev:"127.0.0.1" help:"Local address of the audio sockets."`
	RTPAdvertise  netip.Addr    `name:"rtp_advertise" default:"" help:"Address that we ask peers to send audio to. Empty: sip_advertise if that is an address, else the local address that routes to the peer."`
	MediaThreads  int           `name:"media_threads" default:"0" help:"Threads that move audio. 0: one per core."`
	MediaTimeout  time.Duration `name:"media_timeout" default:"30s" help:"Silence on the wire, with nobody on hold, after which call.media.silent is told."`
	MediaDir      string        `name:"media_dir" default:"" help:"Folder of the prompts that file:name.wav names. Empty: media within data_dir. Prompts of the program stand behind it."`
	MediaMaxBytes int64         `name:"media_max_bytes" default:"20971520" help:"Size up to which prompts are fetched from URLs."`

	WebRTCListen    netip.AddrPort `name:"webrtc_listen" group:"Browsers" default:"0.0.0.0:7882" dev:"127.0.0.1:7882" help:"Address for the audio of all browsers, over UDP and TCP: ip:port. Empty: no browsers."`
	WebRTCAdvertise []string       `name:"webrtc_advertise" default:"" help:"Addresses that browsers are told in the place of ours: the public ones, behind a NAT."`
	WebRTCLite      bool           `name:"webrtc_lite" default:"false" help:"ICE-lite: only for a node with a public address."`
	ICEServers      []string       `name:"ice_servers" default:"" help:"STUN and TURN servers that browsers are told to use: stun:host:port, turn:host:port?transport=tcp."`
	TURNListen      netip.AddrPort `name:"turn_listen" default:"" help:"Address of a TURN relay of our own, for browsers whose networks let little through: ip:port, 3478 as a rule, over UDP and TCP. It leads to webrtc_listen and nowhere else. Empty: none."`
	TURNSecret      string         `name:"turn_secret" secret:"true" default:"" help:"Secret that the TURN servers share with us (use-auth-secret): browsers get credentials for half a day."`

	Codecs         []string `name:"codecs" default:"PCMU,PCMA,opus,G722" help:"Codecs that calls may take, in the order in which they are offered. A call that is offered to us takes the first of the peer's that stands here, unless its application says otherwise."`
	OpusComplexity int      `name:"opus_complexity" default:"0" help:"Complexity of the Opus encoder, 0 to 10. 0 costs a fifth of 10 and sounds nearly the same."`
	OpusBitrate    int      `name:"opus_bitrate" default:"0" help:"Bits per second of encoded Opus at most. 0: what the bandwidth of the audio needs."`
	OpusDTX        bool     `name:"opus_dtx" default:"false" help:"Whether nothing is sent while nothing is said, to peers that take it."`
	OpusFECLoss    float64  `name:"opus_fec_loss" default:"2" help:"Packet loss in percent, as the far end reports it, from which Opus is sent with forward error correction. -1: never."`

	RecordingsDir     string        `name:"recordings_dir" group:"Recordings" default:"" help:"Folder of the recordings. Empty: recordings within data_dir."`
	RecordingsKeep    time.Duration `name:"recordings_keep" default:"0s" help:"How long recordings are kept. 0s: until they are deleted."`
	RecordingsMinFree int64         `name:"recordings_min_free" default:"268435456" help:"Bytes that recordings leave free on their disk: recording stops there, the call goes on."`

	MaxCalls        int           `name:"max_calls" group:"Calls" default:"0" help:"Calls at once; more are refused with 503. 0: no limit."`
	MaxCallDuration time.Duration `name:"max_call_duration" default:"4h" help:"How long an answered call may last if it was given no limit of its own."`
	AnswerTimeout   time.Duration `name:"answer_timeout" default:"3m" help:"How long an inbound call may wait for its application to answer it."`
	AskTimeout      time.Duration `name:"ask_timeout" default:"30s" help:"How long a call waits for instructions, all tries and the fallback URL together, before its fallback instructions run."`

	WebhookTimeout   time.Duration  `name:"webhook_timeout" group:"Webhooks and fetched prompts" default:"5s" help:"How long one try of a webhook that is asked for instructions may take."`
	AllowPrivateURLs bool           `name:"allow_private_urls" default:"false" dev:"true" help:"Whether URLs may lead to loopback and private addresses. Leave it off where customers are not you."`
	AllowNetworks    []netip.Prefix `name:"allow_networks" default:"" help:"Networks (10.1.0.0/16) that URLs may lead to although they are private."`

	// Dev is --dev: other defaults, a key, demo applications and numbers.
	Dev bool
	// File is where the settings came from, "" if from no file.
	File string
}

// PortRange is first to last, both included.
type PortRange struct{ First, Last int }

// UnmarshalText reads "10000-19999".
func (r *PortRange) UnmarshalText(b []byte) error {
	first, last, ok := strings.Cut(string(b), "-")
	var err1, err2 error
	r.First, err1 = strconv.Atoi(strings.TrimSpace(first))
	r.Last, err2 = strconv.Atoi(strings.TrimSpace(last))
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is no range of ports: write first-last, such as 10000-19999", b)
	}
	return nil
}

// MarshalText is the inverse of UnmarshalText; it never fails.
func (r PortRange) MarshalText() ([]byte, error) { //nolint:unparam // encoding.TextMarshaler
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}
