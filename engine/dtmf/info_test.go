package dtmf_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

func TestParseInfo(t *testing.T) {
	for _, c := range []struct {
		contentType, body string
		key               byte // 0: it is refused
		ms                int
		err               error
	}{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", '5', 160, nil},
		{"application/dtmf-relay", "Signal= 5\r\nDuration= 160", '5', 160, nil},
		{"Application/DTMF-Relay; charset=utf-8", "signal=#\nduration=40\n", '#', 40, nil},
		{"application/dtmf-relay", "Duration=250\r\nSignal=*\r\n\r\n", '*', 250, nil},
		{"application/dtmf-relay", "Signal=7", '7', 0, nil},
		{"application/dtmf-relay", "Signal=10\r\nDuration=100", '*', 100, nil},
		{"application/dtmf-relay", "Signal=11\r\nDuration=100", '#', 100, nil},
		{"application/dtmf-relay", "Signal=d\r\nOther=1", 'D', 0, nil},
		{"application/dtmf", "9", '9', 0, nil},
		{"application/dtmf", " 0\r\n", '0', 0, nil},
		{"application/dtmf", "10", '*', 0, nil},
		{"application/dtmf", "Signal=3\r\nDuration=90", '3', 90, nil},
		{"application/dtmf", "", 0, 0, dtmf.ErrInfo},
		{"application/dtmf", "16", 0, 0, dtmf.ErrInfo},
		{"application/dtmf", "05", 0, 0, dtmf.ErrInfo},
		{"application/dtmf", "123", 0, 0, dtmf.ErrInfo},
		{"application/dtmf", strings.Repeat("1", 1000), 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "Signal=\r\n", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "Signal=!\r\n", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "Duration=160\r\n", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "Signal=5\r\nDuration=-1", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "Signal=5\r\nDuration=99999999999", 0, 0, dtmf.ErrInfo},
		{"application/dtmf-relay", "5", 0, 0, dtmf.ErrInfo},
		{"application/sdp", "5", 0, 0, dtmf.ErrContentType},
		{"", "5", 0, 0, dtmf.ErrContentType},
		{"application/dtmf\x00", "5", 0, 0, dtmf.ErrContentType},
	} {
		d, err := dtmf.ParseInfo(c.contentType, []byte(c.body))
		if c.err != nil {
			if !errors.Is(err, c.err) {
				t.Errorf("%s %.30q: %+v, %v; want %v", c.contentType, c.body, d, err, c.err)
			}
			continue
		}
		want := dtmf.Digit{Key: c.key, Duration: time.Duration(c.ms) * time.Millisecond, Method: dtmf.Info}
		if err != nil || d != want {
			t.Errorf("%s %q: %+v, %v; want %+v", c.contentType, c.body, d, err, want)
		}
	}
}

func TestFormatInfo(t *testing.T) {
	contentType, body := dtmf.FormatInfo(dtmf.Digit{Key: '#', Duration: 160 * time.Millisecond})
	if contentType != "application/dtmf-relay" || string(body) != "Signal=#\r\nDuration=160\r\n" {
		t.Errorf("%s %q", contentType, body)
	}
	_, body = dtmf.FormatInfo(dtmf.Digit{Key: '1'})
	if string(body) != "Signal=1\r\nDuration=100\r\n" {
		t.Errorf("unknown duration: %q", body)
	}
}

func FuzzInfo(f *testing.F) {
	f.Add("application/dtmf-relay", []byte("Signal=5\r\nDuration=160\r\n"))
	f.Add("application/dtmf", []byte("5"))
	f.Add("application/dtmf-relay; a=b", []byte("Signal = 11\nDuration =\n"))
	f.Add("application/dtmf;", []byte("=\n=="))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		d, err := dtmf.ParseInfo(contentType, body)
		if err != nil {
			if !errors.Is(err, dtmf.ErrInfo) && !errors.Is(err, dtmf.ErrContentType) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := dtmf.ParseInfo(dtmf.FormatInfo(d))
		if d.Duration == 0 {
			d.Duration = dtmf.DefaultDuration
		}
		if err != nil || again != d {
			t.Fatalf("%+v comes back as %+v, %v", d, again, err)
		}
	})
}
