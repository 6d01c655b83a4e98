package phone

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
)

// A Challenge is what a phone asks callers for.
type Challenge struct {
	Realm, Username, Password string
	Algorithm                 string // "MD5" (default) or "SHA-256"

	once  sync.Once
	nonce string
}

func (c *Challenge) algorithm() string {
	if c.Algorithm == "" {
		return "MD5"
	}
	return c.Algorithm
}

func (c *Challenge) header() string {
	c.once.Do(func() { c.nonce = rand.Text() })
	return fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"`, c.Realm, c.nonce, c.algorithm())
}

// accepts checks a request's credentials (RFC 7616 3.4).
func (c *Challenge) accepts(m Message) bool {
	c.header()
	p := digestParams(m.Get("Proxy-Authorization"))
	if p["username"] != c.Username || p["nonce"] != c.nonce || p["uri"] != m.URI() {
		return false
	}
	want := digestResponse(c.algorithm(), c.Username, p["realm"], c.Password, m.Method(), p["uri"], p["nonce"], p["nc"], p["cnonce"], p["qop"])
	return p["response"] == want
}

// answerChallenge sends the INVITE again with credentials (RFC 3261 22.2): same Call-ID and From, a CSeq more.
func (c *Call) answerChallenge(tx *transaction, m Message) {
	name, reply := "WWW-Authenticate", "Authorization"
	if m.Status() == 407 {
		name, reply = "Proxy-Authenticate", "Proxy-Authorization"
	}
	p := digestParams(m.Get(name))
	alg, qop := p["algorithm"], ""
	if alg == "" {
		alg = "MD5"
	}
	if p["qop"] != "" {
		qop = "auth"
	}
	req, o := tx.req, c.phone.o
	c.cseq++
	again := Message{Start: req.Start, Body: req.Body, Fields: append([]Field(nil), req.Fields...)}
	again.Set("Via", c.via())
	again.Set("CSeq", fmt.Sprintf("%d %s", c.cseq, req.Method()))
	cnonce, nc := rand.Text()[:8], "00000001"
	v := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s, response="%s"`, o.Username, p["realm"], p["nonce"], req.URI(), alg,
		digestResponse(alg, o.Username, p["realm"], o.Password, req.Method(), req.URI(), p["nonce"], nc, cnonce, qop))
	if qop != "" {
		v += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s"`, nc, cnonce)
	}
	if p["opaque"] != "" {
		v += fmt.Sprintf(`, opaque="%s"`, p["opaque"])
	}
	again.Set(reply, v)
	next := c.start(again)
	next.digest = true
	if tx == c.tx {
		c.tx = next
	}
}

func digestParams(v string) map[string]string {
	out := map[string]string{}
	for _, p := range list(strings.TrimPrefix(v, "Digest ")) {
		k, v, _ := strings.Cut(p, "=")
		out[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
	}
	return out
}

func digestResponse(alg, user, realm, password, method, uri, nonce, nc, cnonce, qop string) string {
	h := func(s string) string {
		if strings.EqualFold(alg, "SHA-256") {
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		}
		return fmt.Sprintf("%x", md5.Sum([]byte(s)))
	}
	ha1, ha2 := h(user+":"+realm+":"+password), h(method+":"+uri)
	if qop == "" {
		return h(ha1 + ":" + nonce + ":" + ha2)
	}
	return h(strings.Join([]string{ha1, nonce, nc, cnonce, qop, ha2}, ":"))
}
