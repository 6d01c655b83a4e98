package api_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine/session"
)

func TestRateLimit(t *testing.T) {
	f := newFixture(t, func(o *api.Options) { o.Rate, o.Burst = 0.01, 3 })
	for i := range 3 {
		r := f.ok("GET", "/v1/whoami", "")
		if want := `"default";q=3;w=300`; r.header.Get("RateLimit-Policy") != want {
			t.Errorf("%s, want %s", r.header.Get("RateLimit-Policy"), want)
		}
		if got := r.header.Get("RateLimit"); !strings.HasPrefix(got, `"default";r=`+string(rune('2'-i))) {
			t.Errorf("%d: %s", i, got)
		}
	}
	r := f.do("POST", "/v1/calls/call_live/actions/answer", "")
	f.refused(r, 429, problem.CodeRateLimited)
	if r.header.Get("Retry-After") == "" || !strings.HasPrefix(r.header.Get("RateLimit"), `"default";r=0;t=`) {
		t.Errorf("%v", r.header)
	}
	if f.commander.count() != 0 {
		t.Error("the command passed")
	}
	_, other := f.newKey("prj_default", session.ScopeAdmin)
	f.ok("GET", "/v1/whoami", "", as(other))
	f.refused(f.do("GET", "/v1/whoami", "", as("tpk_wrong")), 401, problem.CodeUnauthorized)
}

func TestNoRateLimit(t *testing.T) {
	f := newFixture(t, func(o *api.Options) { o.Rate = -1 })
	for range 20 {
		if r := f.ok("GET", "/v1/whoami", ""); r.header.Get("RateLimit") != "" {
			t.Fatalf("%v", r.header)
		}
	}
}

// TestServerTimeouts shows that the http.Server has a time-out for all that a client can be slow with, and that a client
// that never sends the end of its headers is not kept.
func TestServerTimeouts(t *testing.T) {
	s := newFixture(t).server.HTTPServer("127.0.0.1:0")
	if s.ReadHeaderTimeout <= 0 || s.IdleTimeout <= 0 || s.WriteTimeout <= time.Minute || s.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", s)
	}
	s.ReadHeaderTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil { // until the server closes
		t.Fatal(err)
	}
}

// TestShutdown shows that streams and long polls end with the server, and do not hold it up.
func TestShutdown(t *testing.T) {
	f := newFixture(t)
	f.publish("call_live", "prj_default", "call.incoming")
	next, _ := follow(t, f, "?from=start", "")
	next()
	polled := make(chan reply, 2)
	go func() { polled <- f.do("GET", "/v1/calls/call_live/events?after=1&wait_s=60", "") }()
	go func() { polled <- f.do("GET", "/v1/events?from=now&wait_s=60", "") }()
	for s := f.log.Stats(); s.Followers < 2 || s.Waiters < 1; s = f.log.Stats() { // the stream, the second poll; the first
		time.Sleep(time.Millisecond)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	if err := f.listener.Config.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := <-polled; r.status != 200 || !strings.Contains(string(r.body), `"data":[]`) {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}
