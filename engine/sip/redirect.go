package sip

import (
	"slices"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine/sip/transaction"
)

// redirectTargets are the Contacts of a 3xx that can be tried, best first (RFC 3261 8.1.3.4, 19.1.5).
func (o *outbound) redirectTargets(res *sip.Response) []sip.Uri {
	type contact struct {
		uri sip.Uri
		q   float64
	}
	var found []contact
	for _, v := range transaction.Values(res, "Contact") {
		c := contact{q: 1}
		var params sip.HeaderParams
		if _, err := sip.ParseAddressValue(v, &c.uri, &params); err != nil || c.uri.Scheme != "sip" || c.uri.Host == "" ||
			!cleanURI(c.uri.String()) {
			continue
		}
		if q, err := strconv.ParseFloat(params.GetOr("q", "1"), 64); err == nil && q >= 0 && q <= 1 {
			c.q = q
		}
		c.uri.Headers = nil // no headers from strangers
		c.uri.UriParams.Remove("method")
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b contact) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	var targets []sip.Uri
	for _, c := range found {
		targets = append(targets, c.uri)
	}
	return targets
}

// redirect tries the next Contact that was not tried yet; false if there is none, or too many were.
func (l *Leg) redirect() bool {
	o := l.out
	for len(o.contacts) > 0 && o.redirects < l.door.o.MaxRedirects {
		target := o.contacts[0]
		o.contacts = o.contacts[1:]
		if slices.Contains(o.visited, target.String()) {
			continue
		}
		o.redirects++
		o.visited = append(o.visited, target.String())
		o.target, o.client, o.answered = target, nil, nil
		l.seek(hop{uri: target, via: target, found: true})
		return true
	}
	return false
}
