package sip

import (
	"strings"
	"testing"
)

func TestMessageWithoutSecrets(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{
			"nothing to hide", "INVITE sip:a@b SIP/2.0\r\nAllow: INVITE\r\n\r\nv=0\r\n",
			"INVITE sip:a@b SIP/2.0\r\nAllow: INVITE\r\n\r\nv=0\r\n",
		},
		{
			"digest", "BYE sip:a@b SIP/2.0\r\nAuthorization: Digest username=\"bob\", realm=\"r\", nonce=\"n\", uri=\"sip:b\", response=\"s3cret\", cnonce=\"s3cret2\", qop=auth, nc=00000001\r\nTo: <sip:a>\r\n\r\n",
			"BYE sip:a@b SIP/2.0\r\nAuthorization: Digest username=\"bob\", realm=\"r\", nonce=\"n\", uri=\"sip:b\", qop=auth, nc=00000001, response=\"removed\"\r\nTo: <sip:a>\r\n\r\n",
		},
		{
			"folded, any case, space before the colon", "proxy-authorization : Digest username=\"bob\",\r\n response=\"s3cret\"\r\nTo: <sip:a>\r\n\r\n",
			"proxy-authorization : Digest username=\"bob\", response=\"removed\"\r\n response=\"removed\"\r\nTo: <sip:a>\r\n\r\n",
		},
		{
			"another scheme", "Authorization: Bearer s3cret.s3cret\r\n\r\n", "Authorization: Bearer removed\r\n\r\n",
		},
		{
			"the answer to a digest", "Authentication-Info: rspauth=\"s3cret\", qop=auth\r\n\r\n",
			"Authentication-Info: qop=auth, response=\"removed\"\r\n\r\n",
		},
		{
			"keys in a description", "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:s3cret|2^20\r\na=ice-pwd:s3cret\r\nk=clear:s3cret\r\na=x\r\n",
			"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:removed\r\na=ice-pwd:removed\r\nk=removed\r\na=x\r\n",
		},
		{"no end of line", "Authorization: Basic s3cret", "Authorization: Basic removed"},
	} {
		if got := withoutSecrets(c.in); got != c.want {
			t.Errorf("%s:\n%q\nnot\n%q", c.name, got, c.want)
		}
	}
}

// Whatever the message, nothing of it goes but secrets: what has none comes out as it was, and no credential survives.
func FuzzMessageWithoutSecrets(f *testing.F) {
	f.Add("INVITE sip:a@b SIP/2.0", "Digest username=\"a\"", "v=0")
	f.Add("\n", " \t,", "\r")
	f.Add("", "=,\"", "a")
	f.Fuzz(func(t *testing.T, start, params, body string) {
		plain := start + "\r\nX: " + body
		if !strings.ContainsAny(plain, "kKaApP") {
			if got := withoutSecrets(plain); got != plain {
				t.Errorf("%q became %q", plain, got)
			}
		}
		if strings.ContainsAny(params, "\r\n") {
			return
		}
		got := withoutSecrets("OPTIONS sip:a SIP/2.0\r\nAuthorization: Digest " + params + ",response=\"s3cret\"\r\n\r\n")
		if strings.Contains(got, "s3cret") && !strings.Contains(params, "s3cret") {
			t.Errorf("%q", got)
		}
	})
}
