package sip

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine/sip/transaction"
)

// sessionExpires is the value of a Session-Expires header (RFC 4028 4).
type sessionExpires struct {
	seconds   int
	refresher string // "uac", "uas" or "", of the transaction that carries it
}

func (s sessionExpires) header() sip.Header {
	v := strconv.Itoa(s.seconds)
	if s.refresher != "" {
		v += ";refresher=" + s.refresher
	}
	return sip.NewHeader("Session-Expires", v)
}

func minSEHeader(seconds int) sip.Header { return sip.NewHeader("Min-SE", strconv.Itoa(seconds)) }

var errSessionExpires = errors.New("malformed Session-Expires")

// readSessionExpires reads the header of msg; ok is false if msg has none.
func readSessionExpires(msg sip.Message) (s sessionExpires, ok bool, err error) {
	v := transaction.Header(msg, "Session-Expires")
	if v == "" {
		return s, false, nil
	}
	delta, params, _ := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(delta), 10, 31)
	if err != nil || n == 0 {
		return s, false, errSessionExpires
	}
	s.seconds = int(n)
	for p := range strings.SplitSeq(params, ";") {
		key, val, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(key), "refresher") {
			switch val = strings.ToLower(strings.TrimSpace(val)); val {
			case "uac", "uas":
				s.refresher = val
			}
		}
	}
	return s, true, nil
}

// readMinSE is the Min-SE of msg in seconds, 0 if it has none.
func readMinSE(msg sip.Message) int {
	v, _, _ := strings.Cut(transaction.Header(msg, "Min-SE"), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// TimerState is the session timer of a dialog (RFC 4028). Seconds is 0 if there is none.
type TimerState struct {
	Seconds int  `json:"seconds"`
	Ours    bool `json:"ours"` // we refresh
	MinSE   int  `json:"min_se"`
}

// refreshAfter is when we refresh: at half of the interval (RFC 4028 10).
func (t TimerState) refreshAfter() time.Duration { return time.Duration(t.Seconds) * time.Second / 2 }

// expireAfter is when a session that nobody refreshed is ended: min(32 s, interval/3) before it expires (RFC 4028 10).
func (t TimerState) expireAfter() time.Duration {
	interval := time.Duration(t.Seconds) * time.Second
	return interval - min(32*time.Second, interval/3)
}

// shortestRefresh is the shortest session interval in seconds that a peer can make us keep, whatever it says.
const shortestRefresh = 10

// answerTimer decides as UAS what the 2xx to req says about the session timer (RFC 4028 9, table 2). tooSmall is the
// Min-SE of a 422 that req deserves, else 0.
func answerTimer(req *sip.Request, ours sessionExpires, minSE int) (t TimerState, answer sessionExpires, tooSmall int) {
	supported := hasToken(req, "Supported", "timer")
	asked, ok, err := readSessionExpires(req)
	if err != nil {
		ok = false
	}
	if ok && asked.seconds < minSE {
		if supported {
			return t, answer, minSE
		}
		asked.seconds = minSE // it cannot understand a 422
	}
	answer = ours
	if ok {
		answer.seconds = min(asked.seconds, ours.seconds)
		answer.seconds = max(answer.seconds, min(readMinSE(req), asked.seconds), minSE)
		answer.refresher = asked.refresher
	}
	if answer.refresher == "" || !supported {
		answer.refresher = "uas"
	}
	return TimerState{Seconds: answer.seconds, Ours: answer.refresher == "uas", MinSE: max(minSE, readMinSE(req))}, answer, 0
}

// acceptTimer decides as UAC what the 2xx res to our request means (RFC 4028 7.2). A peer that does not know the timer
// leaves it to us; a refresher that is not named is us.
func acceptTimer(res *sip.Response, asked sessionExpires, minSE int) TimerState {
	got, ok, err := readSessionExpires(res)
	if err != nil || !ok {
		return TimerState{Seconds: asked.seconds, Ours: true, MinSE: minSE}
	}
	return TimerState{Seconds: max(got.seconds, min(minSE, shortestRefresh)), Ours: got.refresher != "uas", MinSE: minSE}
}
