package sip

import (
	"net/url"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// whereTo is the Request-URI for what is dialled. A trunk completes the call that is dialled through it.
func (d *Door) whereTo(out *engine.Outgoing) (target sip.Uri, trunk *trunkCall, err error) {
	if out.Trunk == nil {
		target, err = dialTarget(out.To)
		return target, nil, err
	}
	if trunk, err = d.newTrunkCall(out.Trunk, out.To.User()); err != nil {
		return target, nil, err
	}
	target = trunk.targets[0].uri
	out.Headers = trunk.headers(out.Headers)
	if a := out.Trunk.Auth; out.Credentials == nil && a != nil {
		out.Credentials = &engine.Credentials{Username: a.Username, Password: a.Password}
	}
	return target, trunk, nil
}

// dialTarget is the Request-URI for an address.
func dialTarget(to engine.Address) (sip.Uri, error) {
	var u sip.Uri
	switch to.Scheme() {
	case "sip":
	case "sips":
		return u, engine.Errorf(engine.CodeNoRoute, "this node does not speak SIP over TLS: dial sip:")
	default:
		return u, engine.Errorf(engine.CodeNoRoute, "SIP cannot dial %q without a trunk", to.URI)
	}
	if err := sip.ParseUri(to.URI, &u); err != nil || u.Host == "" || !cleanURI(to.URI) {
		return u, engine.Invalid("/to", "%q is no SIP URI: write sip:user@host", to.URI)
	}
	u.Headers = nil // headers of a URI are not ours to obey
	u.UriParams = u.UriParams.Clone()
	u.UriParams.Remove("method")
	return u, nil
}

// escape makes a display name fit between quotes.
func escape(name string) string {
	q := quote(sanitize(name))
	return q[1 : len(q)-1]
}

// from is our From for the caller: his own SIP URI, or his number or name at our address.
func (l *Leg) from(a engine.Address, local sip.Uri) string {
	uri := sip.Uri{Scheme: "sip", Host: local.Host, Port: local.Port}
	switch a.Scheme() {
	case "sip", "sips":
		var u sip.Uri
		if err := sip.ParseUri(a.URI, &u); err == nil && u.Host != "" {
			u.Headers = nil
			uri = u
		}
	case "tel":
		uri.User = a.User()
		uri.UriParams = sip.HeaderParams{{K: "user", V: "phone"}}
	case "client":
		uri.User = url.PathEscape(a.User())
	}
	if a.URI == "" || uri.Host == "" || !cleanURI(uri.String()) {
		uri = sip.Uri{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"} // RFC 3323 4.1.1.3
	}
	l.state.LocalUser = contactUser(uri.User)
	v, _ := withoutTag(escape(a.Name), uri, nil)
	return v
}
