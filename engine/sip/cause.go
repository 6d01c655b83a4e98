package sip

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// reasonOf is why an outbound call failed with the final status.
func reasonOf(status int) engine.Reason {
	switch status {
	case 486, 600:
		return engine.ReasonBusy
	case 408:
		return engine.ReasonNoAnswer
	case 480, 503:
		return engine.ReasonUnavailable
	case 404, 410, 414, 416, 484, 485, 604:
		return engine.ReasonNotFound
	case 487:
		return engine.ReasonCancelled
	case 401, 402, 403, 407, 433, 436, 437, 438:
		return engine.ReasonForbidden
	case 603, 607, 608:
		return engine.ReasonRejected
	case 415, 488, 606:
		return engine.ReasonNoCodec
	case 482, 483, 502, 504:
		return engine.ReasonUnreachable
	}
	switch {
	case status < 300:
		return engine.ReasonNormal
	case status < 400:
		return engine.ReasonUnreachable // moved, and we could not follow
	case status < 500:
		return engine.ReasonRejected
	case status < 600:
		return engine.ReasonUnavailable
	}
	return engine.ReasonRejected
}

// statusOf is the final response to an INVITE that ends for r.
func statusOf(r engine.Reason) int {
	switch r {
	case engine.ReasonBusy:
		return 486
	case engine.ReasonRejected:
		return 603
	case engine.ReasonNotFound:
		return 404
	case engine.ReasonNoCodec:
		return 488
	case engine.ReasonForbidden:
		return 403
	case engine.ReasonUnreachable:
		return 502
	case engine.ReasonAppFailed, engine.ReasonInternal, engine.ReasonNodeLost:
		return 500
	default:
		return 480
	}
}

// q850Of is the ISUP cause of a SIP status (RFC 3398 8.2.6.1), 0 if it has none.
func q850Of(status int) int {
	switch status {
	case 404, 485, 604:
		return 1
	case 486, 600:
		return 17
	case 480:
		return 18
	case 401, 402, 403, 407, 603:
		return 21
	case 410:
		return 22
	case 482, 483:
		return 25
	case 484:
		return 28
	case 487:
		return 16
	case 502:
		return 38
	case 400, 481, 500, 503:
		return 41
	case 405:
		return 63
	case 488, 606:
		return 65
	case 406, 415, 501:
		return 79
	case 408, 504:
		return 102
	case 413, 414, 416, 420, 421, 423, 505, 513:
		return 127
	}
	return 0
}

// q850OfReason is the cause that we put into the Reason header of a BYE or CANCEL.
func q850OfReason(r engine.Reason) int {
	switch r {
	case engine.ReasonNormal, engine.ReasonCancelled, engine.ReasonIdle, engine.ReasonMaxDuration:
		return 16
	case engine.ReasonNoAnswer:
		return 19
	case engine.ReasonSessionTimer, engine.ReasonNoACK:
		return 102
	case engine.ReasonMediaTimeout:
		return 38
	case engine.ReasonInternal, engine.ReasonAppFailed, engine.ReasonNodeLost:
		return 41
	default:
		return q850Of(statusOf(r))
	}
}

// statusOfQ850 is the SIP status of an ISUP cause (RFC 3398 7.2.4.1), 0 for normal clearing and unknown causes.
func statusOfQ850(cause int) int {
	switch cause {
	case 1, 2, 3, 26:
		return 404
	case 17:
		return 486
	case 18:
		return 408
	case 19, 20, 31:
		return 480
	case 21, 55, 57, 87:
		return 403
	case 22, 23:
		return 410
	case 27:
		return 502
	case 28:
		return 484
	case 29, 79:
		return 501
	case 34, 38, 41, 42, 47, 58, 88:
		return 503
	case 65, 70:
		return 488
	case 102:
		return 504
	case 111, 127:
		return 500
	}
	return 0
}

// reasonHeader writes c as a Reason header (RFC 3326).
func reasonHeader(c engine.Cause) sip.Header {
	q := c.Q850
	if q == 0 {
		q = q850OfReason(c.Reason)
	}
	v := "Q.850;cause=" + strconv.Itoa(q)
	if text := sanitize(c.Text); text != "" {
		v += ";text=" + quote(text)
	}
	return sip.NewHeader("Reason", v)
}

// readReason adds what the Reason headers of msg say to c (RFC 3326).
func readReason(msg sip.Message, c *engine.Cause) {
	for _, value := range transaction.Values(msg, "Reason") {
		protocol, params, _ := strings.Cut(value, ";")
		cause, text := reasonParams(params)
		if text != "" {
			c.Text = text
		}
		switch strings.ToUpper(strings.TrimSpace(protocol)) {
		case "Q.850":
			c.Q850 = cause
			if status := statusOfQ850(cause); status != 0 && c.SIPStatus == 0 {
				c.Reason = reasonOf(status)
			}
		case "SIP":
			if cause >= 200 && cause <= 699 {
				c.SIPStatus = cause
				if cause >= 300 {
					c.Reason = reasonOf(cause)
				}
			}
		}
	}
}

func reasonParams(params string) (cause int, text string) {
	for p := range splitQuoted(params, ';') {
		key, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "cause":
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16); err == nil {
				cause = int(n)
			}
		case "text":
			text = sanitize(unquote(strings.TrimSpace(value)))
		}
	}
	return cause, text
}

// causeOf is the cause of an outbound call that failed with res.
func causeOf(res *sip.Response) engine.Cause {
	c := engine.Cause{
		Reason: reasonOf(res.StatusCode), Source: engine.SourceCallee,
		SIPStatus: res.StatusCode, Q850: q850Of(res.StatusCode), Text: sanitize(res.Reason),
	}
	text := c.Text
	readReason(res, &c)
	c.SIPStatus, c.Reason = res.StatusCode, reasonOf(res.StatusCode)
	if c.Text == "" {
		c.Text = text
	}
	return c
}

// statusOfCode is the response to an INVITE that the engine refuses.
func statusOfCode(code engine.Code) int {
	switch code {
	case engine.CodeNoRoute, engine.CodeNotFound, engine.CodeCallNotFound:
		return 404
	case engine.CodeDestinationDenied:
		return 403
	case engine.CodeCapacity, engine.CodeDraining:
		return 503
	case engine.CodeValidation:
		return 400
	case engine.CodeUnsupported:
		return 488
	case engine.CodeTimeout:
		return 504
	default:
		return 500
	}
}

// phrase is the reason phrase of a status (RFC 3261 21).
func phrase(status int) string {
	switch status {
	case 100:
		return "Trying"
	case 180:
		return "Ringing"
	case 183:
		return "Session Progress"
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 410:
		return "Gone"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 422:
		return "Session Interval Too Small"
	case 469:
		return "Bad Info Package"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 484:
		return "Address Incomplete"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 491:
		return "Request Pending"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 603:
		return "Decline"
	}
	return classPhrase(status)
}

// classPhrase is the phrase of a status that has none of its own here.
func classPhrase(status int) string {
	switch {
	case status < 300:
		return "OK"
	case status < 400:
		return "Redirect"
	case status < 500:
		return "Request Failure"
	case status < 600:
		return "Server Failure"
	}
	return "Global Failure"
}
