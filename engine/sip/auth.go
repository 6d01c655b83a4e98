package sip

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"github.com/tipring/tipring/engine"
)

var (
	errNoCredentials  = errors.New("challenged, but there are no credentials")
	errBadCredentials = errors.New("credentials were refused")
	errNoChallenge    = errors.New("no challenge that we can answer")
	errForeignRealm   = errors.New("challenge of a realm that is not the callee's")
)

// maxRealms is how many realms may challenge one leg: proxies on the way and the callee.
const maxRealms = 4

// authenticator answers the digest challenges of one outbound leg (RFC 3261 22, RFC 7616, RFC 8760). It remembers
// nonces, so that later requests carry credentials at once. Who challenged the first INVITE is who may challenge
// later requests: a far end that asks for the credentials of another realm gets none.
type authenticator struct {
	credentials *engine.Credentials
	realms      []*protectionSpace
	sealed      bool // the dialog is confirmed: no new realm is trusted, unless there is none yet
}

// protectionSpace is one realm behind one of the two headers, with the newest nonce of it.
type protectionSpace struct {
	header    string // "Authorization" or "Proxy-Authorization"
	challenge *digest.Challenge
	count     int // nc of the last request
}

// authorize adds credentials for every known realm to req; digest-uri is the whole Request-URI.
func (a *authenticator) authorize(req *sip.Request) error {
	for _, s := range a.realms {
		req.RemoveHeader(s.header)
	}
	for _, s := range a.realms {
		s.count++
		c, err := digest.Digest(s.challenge, digest.Options{
			Method: string(req.Method), URI: req.Recipient.String(), Count: s.count,
			GetBody:  func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body())), nil },
			Username: a.credentials.Username, Password: a.credentials.Password,
		})
		if err != nil {
			return err
		}
		req.AppendHeader(sip.NewHeader(s.header, c.String()))
	}
	return nil
}

// challenged takes the challenges of a 401 or 407. nil means that the request is worth another try. answered is what
// one request has answered so far: the same realm may ask again only if it says that the nonce was stale.
func (a *authenticator) challenged(res *sip.Response, answered map[string]bool) error {
	if a.credentials == nil {
		return errNoCredentials
	}
	header, name := "Authorization", "www-authenticate"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		header, name = "Proxy-Authorization", "proxy-authenticate"
	}
	found := errNoChallenge
	seen := map[string]bool{}
	for _, h := range res.GetHeaders(name) {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		if !digest.CanDigest(c) || seen[c.Realm] { // the first supported of a realm is the one (RFC 8760 2.4)
			continue
		}
		seen[c.Realm] = true
		key := header + " " + c.Realm
		if answered[key] && !c.Stale {
			return errBadCredentials
		}
		if err := a.note(header, c); err != nil {
			if found != nil {
				found = err
			}
			continue
		}
		answered[key] = true
		found = nil
	}
	return found
}

// note remembers a challenge.
func (a *authenticator) note(header string, c *digest.Challenge) error {
	for _, s := range a.realms {
		if s.header == header && s.challenge.Realm == c.Realm {
			s.challenge, s.count = c, 0
			return nil
		}
	}
	if a.sealed && len(a.realms) > 0 || len(a.realms) >= maxRealms {
		return errForeignRealm
	}
	a.realms = append(a.realms, &protectionSpace{header: header, challenge: c})
	return nil
}

// copyAuthorization gives an ACK the credentials of its INVITE (RFC 3261 22.1).
func copyAuthorization(invite, ack *sip.Request) {
	sip.CopyHeaders("Authorization", invite, ack)
	sip.CopyHeaders("Proxy-Authorization", invite, ack)
}
