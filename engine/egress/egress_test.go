package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/engine/egress"
)

func open(o egress.Options) *egress.Client {
	o.AllowPrivate = true
	return egress.New(o)
}

// TestForbiddenAddresses uses every way to write loopback and friends: none may bring a single connection.
func TestForbiddenAddresses(t *testing.T) {
	var connections atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	hosts := []string{
		"127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "127.0.0.1.",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
		"[2002:7f00:1::]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]",
		"100.64.0.1", "224.0.0.1", "255.255.255.255",
	}
	c := egress.New(egress.Options{Timeout: 5 * time.Second, Resolver: resolver(t, func(string) netip.Addr {
		return netip.MustParseAddr("127.0.0.1") // whatever a name's owner says
	})})
	for _, h := range hosts {
		_, _, err := c.Fetch(t.Context(), "http://"+h+":"+port+"/")
		if k := egress.KindOf(err); k != egress.KindPrivateAddress && k != egress.KindDNS {
			t.Errorf("Fetch of %s: %v", h, err)
		}
		_, err = c.DialWebSocket(t.Context(), "ws://"+h+":"+port+"/", nil, 1024)
		if k := egress.KindOf(err); k != egress.KindPrivateAddress && k != egress.KindDNS {
			t.Errorf("DialWebSocket to %s: %v", h, err)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections arrived", n)
	}
}

// TestRebinding has a name that is public when it is asked for first and loopback afterwards.
func TestRebinding(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	var asked atomic.Int32
	c := egress.New(egress.Options{Resolver: resolver(t, func(string) netip.Addr {
		if asked.Add(1) == 1 {
			return netip.MustParseAddr("10.0.0.7")
		}
		return netip.MustParseAddr("127.0.0.1")
	})})
	for range 3 {
		if _, _, err := c.Fetch(t.Context(), "http://rebind.test:"+port+"/"); egress.KindOf(err) != egress.KindPrivateAddress {
			t.Errorf("err = %v", err)
		}
	}
	if asked.Load() == 0 {
		t.Error("the resolver was not asked")
	}
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "direct") }))
	defer srv.Close()
	c := open(egress.Options{Resolver: resolver(t, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })})
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	data, _, err := c.Fetch(t.Context(), "http://somewhere.test:"+port+"/")
	if err != nil || string(data) != "direct" {
		t.Errorf("Fetch = %q, %v", data, err)
	}
}

func TestFetch(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		fmt.Fprint(w, r.Header.Get("User-Agent"))
	})
	mux.HandleFunc("/hop/{n}", func(w http.ResponseWriter, r *http.Request) {
		n := int(r.PathValue("n")[0] - '0')
		to := "/ok"
		if n > 1 {
			to = fmt.Sprintf("/hop/%d", n-1)
		}
		http.Redirect(w, r, to, http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/toFile", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/missing", http.NotFound)
	mux.HandleFunc("/declared", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000000") })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 1<<20))
		_ = z.Close()
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "only this")
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Big", strings.Repeat("x", 1<<20)) })
	srv := httptest.NewServer(mux)
	defer srv.Close()

	c := open(egress.Options{MaxBytes: 64 << 10, UserAgent: "Tipring/test"})
	for path, want := range map[string]egress.Kind{
		"/ok": "", "/hop/1": "", "/hop/3": "", "/hop/4": egress.KindRedirect, "/loop": egress.KindRedirect,
		"/toFile": egress.KindURL, "/nowhere": egress.KindRedirect, "/missing": egress.KindStatus,
		"/declared": egress.KindTooLarge, "/endless": egress.KindTooLarge, "/bomb": egress.KindEncoding,
		"/short": egress.KindNetwork, "/headers": egress.KindNetwork,
	} {
		data, contentType, err := c.Fetch(t.Context(), srv.URL+path+"?secret=1")
		if got := egress.KindOf(err); got != want {
			t.Errorf("%s: %v, want kind %q", path, err, want)
		}
		if err == nil && (string(data) != "Tipring/test" || contentType != "audio/wav") {
			t.Errorf("%s: %q, %q", path, data, contentType)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the query: %v", path, err)
		}
	}
}

// TestRedirectToPrivate follows a redirect from an admitted address to one that is not.
func TestRedirectToPrivate(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	}))
	defer srv.Close()
	c := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if _, _, err := c.Fetch(t.Context(), srv.URL); egress.KindOf(err) != egress.KindPrivateAddress {
		t.Errorf("err = %v", err)
	}
}

func TestDoTakesNoRedirect(t *testing.T) {
	var second atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b", http.StatusTemporaryRedirect) })
	mux.HandleFunc("/b", func(http.ResponseWriter, *http.Request) { second.Store(true) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/a", strings.NewReader("{}"))
	res, err := open(egress.Options{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusTemporaryRedirect || second.Load() {
		t.Errorf("status %d, followed: %v", res.StatusCode, second.Load())
	}
}

func TestErrorKinds(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	hung := make(chan struct{})
	release := sync.OnceFunc(func() { close(hung) })
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer release()
	closed := httptest.NewServer(nil)
	closed.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()

	none := resolver(t, func(string) netip.Addr { return netip.Addr{} })
	patient, c := open(egress.Options{Resolver: none}), open(egress.Options{Timeout: 200 * time.Millisecond, Resolver: none})
	for _, tt := range []struct {
		name, url string
		ctx       context.Context
		want      egress.Kind
	}{
		{"nobody listens", closed.URL, t.Context(), egress.KindRefused},
		{"unknown authority", secure.URL, t.Context(), egress.KindTLS},
		{"no TLS there", "https" + strings.TrimPrefix(plain.URL, "http"), t.Context(), egress.KindTLS},
		{"slow", slow.URL, t.Context(), egress.KindTimeout},
		{"no such name", "http://nobody.test/", t.Context(), egress.KindDNS},
		{"canceled", plain.URL, canceled, egress.KindCanceled},
		{"not a URL", "http://[", t.Context(), egress.KindURL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := patient // a busy machine makes no time-out of something else
			if tt.want == egress.KindTimeout {
				client = c
			}
			_, _, err := client.Fetch(tt.ctx, tt.url)
			if got := egress.KindOf(err); got != tt.want {
				t.Errorf("err = %v, want kind %q", err, tt.want)
			}
			if _, ok := errors.AsType[*egress.Error](err); !ok {
				t.Errorf("%T is no *Error", err)
			}
		})
	}
}

func TestTLSRoots(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "sealed") }))
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	data, _, err := open(egress.Options{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}).Fetch(t.Context(), srv.URL)
	if err != nil || string(data) != "sealed" {
		t.Errorf("Fetch = %q, %v", data, err)
	}
}

func TestDialWebSocket(t *testing.T) {
	up := websocket.Upgrader{}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(user+":"+password+" "+r.Header.Get("X-Sign")+" "+r.Header.Get("User-Agent")))
		_ = ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 2000))
		_, _, _ = ws.ReadMessage()
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/echo", http.StatusFound) })
	mux.HandleFunc("/no", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	base := strings.TrimPrefix(srv.URL, "http://")

	c := open(egress.Options{})
	ws, err := c.DialWebSocket(t.Context(), "ws://bob:pw@"+base+"/echo", http.Header{"X-Sign": {"s"}}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	if _, b, err := ws.ReadMessage(); err != nil || string(b) != "bob:pw s Tipring" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, _, err := ws.ReadMessage(); !errors.Is(err, websocket.ErrReadLimit) {
		t.Errorf("a message over the limit: %v", err)
	}
	for path, want := range map[string]egress.Kind{"/away": egress.KindRedirect, "/no": egress.KindStatus} {
		_, err := c.DialWebSocket(t.Context(), "ws://"+base+path, nil, 1000)
		if egress.KindOf(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := c.DialWebSocket(t.Context(), "http://"+base+"/echo", nil, 1000); egress.KindOf(err) != egress.KindURL {
		t.Errorf("an http:// URL: %v", err)
	}
}

func TestRead(t *testing.T) {
	if b, err := egress.Read(strings.NewReader("12345"), 5); err != nil || string(b) != "12345" {
		t.Errorf("Read = %q, %v", b, err)
	}
	if b, err := egress.Read(strings.NewReader("123456"), 5); egress.KindOf(err) != egress.KindTooLarge || string(b) != "12345" {
		t.Errorf("Read = %q, %v", b, err)
	}
}

// resolver is a net.Resolver whose DNS server (RFC 1035) answers every A question with what answer says; the zero
// address is NXDOMAIN.
func resolver(t *testing.T, answer func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // ends when conn is closed
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := dnsReply(buf[:n], answer); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func dnsReply(query []byte, answer func(string) netip.Addr) []byte {
	const header = 12
	end := header
	var labels []string
	for end < len(query) && query[end] != 0 {
		n := int(query[end])
		labels = append(labels, string(query[end+1:end+1+n]))
		end += n + 1
	}
	end += 5 // the root, type and class
	if end > len(query) {
		return nil
	}
	qtype := binary.BigEndian.Uint16(query[end-4:])
	reply := append([]byte{}, query[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180)
	copy(reply[6:header], make([]byte, 6))
	addr := answer(strings.Join(labels, "."))
	switch {
	case !addr.IsValid():
		reply[3] |= 3 // NXDOMAIN
	case qtype == 1:
		reply[7] = 1
		reply = append(reply, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, addr.AsSlice()...)
	}
	return reply
}
