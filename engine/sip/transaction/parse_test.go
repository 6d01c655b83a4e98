package transaction

import (
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// crlf makes a message of lines.
func crlf(lines string) string {
	return strings.ReplaceAll(strings.TrimPrefix(lines, "\n"), "\n", "\r\n")
}

const plainHead = `Via: SIP/2.0/UDP host.example;branch=z9hG4bKx
From: <sip:a@example.com>;tag=1
To: <sip:b@example.com>
Call-ID: x@y
CSeq: 1 `

// tortures are messages with the difficulties of RFC 4475, in our own words, and the status of the answer (0: they are
// in order; 1: not even a message).
func tortures() map[string]struct {
	raw    string
	status int
} {
	type torture = struct {
		raw    string
		status int
	}
	ok := func(s string) torture { return torture{crlf(s), 0} }
	bad := func(status int, s string) torture { return torture{crlf(s), status} }
	request := func(method, uri, more string) string {
		return method + " " + uri + " SIP/2.0\n" + plainHead + method + "\n" + more + "\n"
	}
	return map[string]torture{
		// 3.1.1: valid
		"odd white space": ok(`
INVITE sip:bob@chair.example.com;unknownparam SIP/2.0
TO :
 sip:bob@chair.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jr@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 5
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jr@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

v=0
`),
		"odd characters": ok(`
!interesting-Method0123456789_*+` + "`" + `.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+` + "`" + `'~
To: "BEL:\` + "\x07" + ` NULL:\` + "\x01" + ` DEL:\` + "\x7f" + `" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` + "`" + ` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="` + "\xd1\x80\xd0\xb0" + `";tag=_token~1'+` + "`" + `*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word` + "`" + `~)(><:\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+` + "`" + `.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_` + "`" + `'~:` + "\xef\xbb\xbf" + `
Content-Length: 0

`),
		"escapes": ok(request("INVITE", "sip:sips%3Auser%40example.com@example.net", `Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>
`)),
		"escaped NUL":           ok(request("REGISTER", "sip:example.com", "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\n")),
		"escaped method":        ok(request("RE%47IST%45R", "sip:registrar.example.com", "")),
		"no space in name-addr": ok(strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "From: <", "From: caller<", 1)),
		"comma list":            ok(strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "UDP host", "UDP a.example;branch=z9hG4bKy, SIP/2.0/SCTP b.example:5061, SIP/2.0/UDP host", 1)),
		"long values":           ok(request("INVITE", "sip:user@example.com", "Unknown-"+strings.Repeat("Long", 20)+": "+strings.Repeat("x", 5000)+"\n")),
		"second message":        ok(request("REGISTER", "sip:example.com", "Content-Length: 0\n") + "INVITE sip:joe@example.com SIP/2.0\n\n"),
		"semicolon in user":     ok(request("OPTIONS", "sip:user;par=u%40example.net@example.com", "")),
		"transports":            ok(strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "Via:", "Via: SIP/2.0/TLS t2.example.com;branch=z9hG4bKa\nVia: SIP/2.0/UNKNOWN t3.example.com;branch=z9hG4bKb\nVia:", 1)),
		"multipart":             ok(request("MESSAGE", "sip:kumiko@example.org", "Content-Type: multipart/mixed;boundary=7a9\n") + "--7a9\n\n\x00\x01\xff\n--7a9--"),
		"UTF-8 reason":          ok("SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe\n" + plainHead + "INVITE\n\n"),
		"empty reason":          ok("SIP/2.0 100 \n" + plainHead + "INVITE\n\n"),
		"IPv6 Via":              ok(strings.Replace(request("OPTIONS", "sip:[2001:db8::10]", ""), "UDP host.example", "UDP [2001:db8::9:1]:5070", 1)),
		"tel URI":               ok(request("INVITE", "tel:+1-201-555-0123;phone-context=example.com", "")),
		"unknown scheme of To":  ok(strings.Replace(request("REGISTER", "sip:example.com", ""), "To: <sip:b@example.com>", "To: <isbn:2983792873>", 1)),
		"same length twice":     ok(request("OPTIONS", "sip:example.com", "Content-Length: 0\nl: 0\n")),

		// 3.1.2: invalid
		"no scheme known":                bad(416, request("OPTIONS", "soap.beep://192.0.2.103:3002", "")),
		"length exceeds message":         bad(400, request("INVITE", "sip:user@example.com", "Content-Length: 9999\n")),
		"negative length":                bad(400, request("INVITE", "sip:user@example.com", "Content-Length: -999\n")),
		"two lengths":                    bad(400, request("OPTIONS", "sip:user@example.com", "Content-Length: 5\nContent-Length: 6\n")+"12345"),
		"scalars too large":              bad(400, strings.Replace(request("REGISTER", "sip:example.com", ""), "CSeq: 1 ", "CSeq: 36893488147419103232 ", 1)),
		"CSeq of 2**31":                  bad(400, strings.Replace(request("REGISTER", "sip:example.com", ""), "CSeq: 1 ", "CSeq: 2147483648 ", 1)),
		"Max-Forwards too large":         bad(400, request("REGISTER", "sip:example.com", "Max-Forwards: 300\n")),
		"unterminated quote":             bad(400, strings.Replace(request("INVITE", "sip:user@example.com", ""), "To: <", `To: "Mr. J. User <`, 1)),
		"URI in brackets":                bad(400, request("INVITE", "<sip:user@example.com>", "")),
		"space in URI":                   bad(400, request("INVITE", "sip:user@example.com; lr", "")),
		"spaces in request line":         bad(400, request("INVITE", " sip:user@example.com", "")),
		"space after version":            bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "SIP/2.0\n", "SIP/2.0  \n", 1)),
		"headers in Request-URI":         bad(400, request("INVITE", "sip:user@example.com?Route=%3Csip:example.com%3E", "")),
		"unknown version":                bad(505, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "SIP/2.0\n", "SIP/7.0\n", 1)),
		"method mismatch":                bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "1 OPTIONS", "1 INVITE", 1)),
		"unknown method mismatch":        bad(400, strings.Replace(request("NEWMETHOD", "sip:user@example.com", ""), "1 NEWMETHOD", "1 INVITE", 1)),
		"space in brackets":              bad(400, strings.Replace(request("OPTIONS", "sip:user@example.org", ""), "To: <", `To: "Watson, Thomas" < `, 1)),
		"display name of no token":       bad(400, strings.Replace(request("OPTIONS", "sip:user@example.org", ""), "From: <", "From: Bell, Alexander <", 1)),
		"quote within a parameter":       bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "=z9hG4bKx", "=z9\"hG4 \"bKx", 1)),
		"no scheme":                      bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "To: <sip:b@example.com>", "To: <:b>", 1)),
		"no address in brackets":         bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "host.example", "[:]", 1)),
		"space within a parameter":       bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "=z9hG4bKx", "=z9hG4bK x", 1)),
		"two From":                       bad(400, request("OPTIONS", "sip:user@example.com", "From: <sip:other@example.com>;tag=2\n")),
		"two Call-ID":                    bad(400, request("OPTIONS", "sip:user@example.com", "i: other\n")),
		"two CSeq":                       bad(400, request("OPTIONS", "sip:user@example.com", "CSeq: 8 OPTIONS\n")),
		"no Via host":                    bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "UDP host.example", "UDP ", 1)),
		"Via port":                       bad(400, strings.Replace(request("OPTIONS", "sip:user@example.com", ""), "UDP host.example", "UDP host.example:70000", 1)),
		"question mark without brackets": bad(400, request("REGISTER", "sip:example.com", "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\n")),
		"no headers":                     bad(400, "INVITE sip:caller@example.com SIP/2.0\n\n"),
		"no empty line":                  {strings.TrimSuffix(crlf(request("OPTIONS", "sip:user@example.com", "")), "\r\n"), 400},
		"LF alone":                       {strings.Replace(crlf(request("OPTIONS", "sip:user@example.com", "Subject: x#Route: y\n")), "#", "\n", 1), 400},
		"NUL":                            {crlf(request("OPTIONS", "sip:user@example.com", "Subject: \x00\n")), 400},
		"star as Request-URI":            bad(400, request("OPTIONS", "*", "")),
		"header without colon":           bad(400, request("OPTIONS", "sip:user@example.com", "nonsense\n")),
		"no host":                        bad(400, request("OPTIONS", "sip:user@", "")),
		"status too large":               bad(1, "SIP/2.0 4294967301 better not break\n"+plainHead+"INVITE\n\n"),
		"status too small":               bad(1, "SIP/2.0 42 low\n"+plainHead+"INVITE\n\n"),
		"not SIP":                        bad(1, "GET / HTTP/1.1 or so\n\n"),
		"empty":                          bad(1, ""),
	}
}

func TestTorture(t *testing.T) {
	for name, tt := range tortures() {
		t.Run(name, func(t *testing.T) {
			msg, bad := parse(tt.raw)
			switch {
			case tt.status == 1:
				if req, ok := msg.(*sip.Request); bad == nil || msg != nil && (!ok || req.Via() != nil) {
					t.Errorf("parsed as %v", msg)
				}
			case tt.status == 0 && bad != nil:
				t.Errorf("refused: %v", bad)
			case tt.status != 0 && (bad == nil || bad.status != tt.status):
				t.Errorf("fault %v, want %d", bad, tt.status)
			}
		})
	}
}

// What odd white space hides is read right.
func TestParseOddWhiteSpace(t *testing.T) {
	msg, bad := parse(tortures()["odd white space"].raw)
	if bad != nil {
		t.Fatal(bad)
	}
	req := msg.(*sip.Request)
	fromTag, _ := req.From().Params.Get("tag")
	toTag, _ := req.To().Params.Get("tag")
	q, _ := req.Contact().Params.Get("q")
	vias := req.GetHeaders("Via")
	got := []string{
		string(req.Method), req.Recipient.String(), fromTag, req.From().DisplayName, req.From().Address.String(), toTag,
		req.To().Address.String(), string(*req.CallID()), req.CSeq().Value(), Header(req, "Subject"),
		Header(req, "newfangledheader"), q, req.Contact().Address.String(), req.Route().Address.String(), string(req.Body()),
	}
	for _, v := range vias {
		got = append(got, v.Value())
	}
	want := []string{
		"INVITE", "sip:bob@chair.example.com;unknownparam", "98asjd8", `J Rosenberg \\\"`, "sip:jr@example.com", "1918181833n",
		"sip:bob@chair.example.com", "wsinv.ndaksdj@192.0.2.1", "9 INVITE", "",
		"newfangled value continued newfangled value", "0.33", "sip:jr@example.com",
		"sip:services.example.com;lr;unknownwith=value;unknown-no-value", "v=0\r\n",
		"SIP/2.0/UDP 192.0.2.2;branch=390skdjuw", "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
		"SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
	}
	if !slices.Equal(got, want) {
		t.Errorf("read\n%q, want\n%q", got, want)
	}
	if hops := req.MaxForwards(); hops == nil || hops.Val() != 68 {
		t.Errorf("Max-Forwards %v", hops)
	}
}

// Compact names are long ones, for headers that the sip package knows and others, in messages of any parser.
func TestCompactHeaders(t *testing.T) {
	raw := crlf(`
INVITE sip:b@example.com SIP/2.0
v: SIP/2.0/UDP host.example;branch=z9hG4bKx
f: <sip:a@example.com>;tag=1
t: <sip:b@example.com>
i: x@y
CSeq: 1 INVITE
m: <sip:a@192.0.2.1>
k: 100rel, timer
K: replaces
x: 1800;refresher=uac
o: refer
r: <sip:c@example.com>
b: <sip:a@example.com>
s: hello
e: gzip
c: application/sdp
l: 0

`)
	msg, bad := parse(raw)
	if bad != nil {
		t.Fatal(bad)
	}
	other, err := sip.ParseMessage([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Supported": "100rel, timer", "Session-Expires": "1800;refresher=uac", "session-expires": "1800;refresher=uac",
		"x": "1800;refresher=uac", "Event": "refer", "Subject": "hello", "Content-Encoding": "gzip",
		"Content-Type": "application/sdp", "Call-ID": "x@y", "From": "<sip:a@example.com>;tag=1", "CSeq": "1 INVITE",
		"Refer-To": "<sip:c@example.com>", "Missing": "",
	}
	for name, value := range want {
		for parser, m := range map[string]sip.Message{"ours": msg, "sipgo's": other} {
			if got := Header(m, name); got != value {
				t.Errorf("%s of %s parser: %q, want %q", name, parser, got, value)
			}
		}
	}
	if h := msg.GetHeaders("Supported"); len(h) != 2 {
		t.Errorf("GetHeaders finds %v", h)
	}
	if got := Headers(msg, "Supported"); !slices.Equal(got, []string{"100rel, timer", "replaces"}) {
		t.Errorf("Headers: %q", got)
	}
	if got := Values(msg, "k"); !slices.Equal(got, []string{"100rel", "timer", "replaces"}) {
		t.Errorf("Values: %q", got)
	}
	if h := msg.(*sip.Request).ReferredBy(); h == nil || h.Address.User != "a" {
		t.Errorf("Referred-By: %v", h)
	}
}

func TestValues(t *testing.T) {
	req := sip.NewRequest(sip.OPTIONS, sip.Uri{})
	req.AppendHeader(sip.NewHeader("Contact", `"a, b" <sip:x@y,z>;q=1 ,, <sip:c>`))
	req.AppendHeader(sip.NewHeader("m", `"unterminated, <sip:d>`))
	want := []string{`"a, b" <sip:x@y,z>;q=1`, `<sip:c>`, `"unterminated, <sip:d>`}
	if got := Values(req, "Contact"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseURI(t *testing.T) {
	for text, want := range map[string]string{
		"sip:a@example.com":                        "",
		"sip:example.com;lr":                       "",
		"sips:a:secret@[2001:db8::1]:5061;x=y":     "",
		"sip:a;b?c@example.com;p=1;q?h=1&i=2":      "",
		"sip:example.com?h=1;2":                    "",
		"SIP:a@example.com;;p":                     "sip:a@example.com;p",
		"tel:+49-30-1;phone-context=example.com?x": "",
		"*":             "*",
		"sip:":          "error",
		"sip:@":         "error",
		"sip:a@":        "error",
		"sip:a@;p":      "error",
		"sip:a@b:70000": "error",
		"sip:a@b:x":     "error",
		"sip:a@b c":     "error",
		"sip:[::1":      "error",
		"b":             "error",
		":b":            "error",
		"1x:b":          "error",
		"":              "error",
	} {
		var uri sip.Uri
		err := parseURI(text, &uri)
		got := uri.String()
		switch {
		case err != nil:
			got = "error"
		case uri.Wildcard:
			got = uri.Host
		}
		if want == "" {
			want = text
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	var uri sip.Uri
	if err := parseURI("sip:a;b?c@example.com;p=1;q?h=1&i=2", &uri); err != nil {
		t.Fatal(err)
	}
	if p, _ := uri.UriParams.Get("p"); uri.User != "a;b?c" || p != "1" || !uri.UriParams.Has("q") || uri.Headers.Length() != 2 {
		t.Errorf("%+v", uri)
	}
}

// What was parsed is written so that it parses to the same again.
func TestParseRoundTrip(t *testing.T) {
	for name, tt := range tortures() {
		if tt.status != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			msg, bad := parse(tt.raw)
			if bad != nil {
				t.Fatal(bad)
			}
			once := string(encode(msg))
			again, bad := parse(once)
			if bad != nil {
				t.Fatalf("%v in %q", bad, once)
			}
			if twice := string(encode(again)); twice != once {
				t.Errorf("first %q, then %q", once, twice)
			}
		})
	}
}

// A glance sees the Call-ID that the parser sees, whatever the form.
func TestGlance(t *testing.T) {
	g := Guard{}.withDefaults()
	for name, tt := range tortures() {
		t.Run(name, func(t *testing.T) {
			m, ok := glanceAt(tt.raw, &g)
			msg, bad := parse(tt.raw)
			if bad != nil {
				return
			}
			if req, isRequest := msg.(*sip.Request); !ok || m.request != isRequest || m.callID != string(*msg.CallID()) ||
				isRequest && m.initial == req.To().Params.Has("tag") {
				t.Errorf("glance %+v (%v) of %q", m, ok, tt.raw)
			}
		})
	}
	for raw, initial := range map[string]bool{
		text{method: "INVITE"}.String():                             true,
		text{method: "INVITE", toTag: "x"}.String():                 false,
		text{method: "ACK"}.String():                                false,
		text{method: "CANCEL"}.String():                             false,
		reply(text{method: "BYE"}.String(), 200, ""):                false,
		"OPTIONS x SIP/2.0\r\nt: \"a;tag=1\" <sip:a;tag=2>\r\n\r\n": true,
		"OPTIONS x SIP/2.0\r\nTo: <sip:a>\r\n ; TAG = 3\r\n\r\n":    false,
	} {
		if m, _ := glanceAt(raw, &g); m.initial != initial {
			t.Errorf("initial is %v of %q", m.initial, raw)
		}
	}
}
