package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sort"
	"strconv"
	"time"
)

// rtpengine is Debian's rtpengine in user space, steered by its ng protocol: bencoded dictionaries over UDP, with a cookie
// in front. It relays and transcodes; there is no SIP.
type rtpengine struct {
	conn   net.Conn
	cookie int
}

func startRTPengine() (*rtpengine, *server, error) {
	ng := freePort()
	s, err := startPeer("rtpengine", "rtpengine-daemon", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
		"--interface=127.0.0.1", "--listen-ng="+ng, "--port-min=40000", "--port-max=59999", "--pidfile=/dev/null")
	if err != nil {
		return nil, nil, err
	}
	r := new(rtpengine)
	if r.conn, err = net.Dial("udp4", ng); err != nil {
		s.stop()
		return nil, nil, err
	}
	for range 100 {
		if _, err = r.ask(map[string]any{"command": "ping"}); err == nil {
			return r, s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return nil, nil, fmt.Errorf("rtpengine does not answer: %w", err)
}

// connect makes call i between two ports of ours, the second of which speaks Opus if opus; it says where each sends.
func (r *rtpengine) connect(i, a, b int, opus bool) (toA, toB netip.AddrPort, err error) {
	id := "load" + strconv.Itoa(i)
	offer := map[string]any{"command": "offer", "call-id": id, "from-tag": "a", "sdp": description(a, false)}
	if opus {
		offer["codec"] = map[string]any{"mask": []any{"all"}, "transcode": []any{"opus/48000/1/24000"}}
	}
	if toB, err = r.sdp(offer); err != nil {
		return toA, toB, err
	}
	toA, err = r.sdp(map[string]any{
		"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": description(b, opus),
	})
	return toA, toB, err
}

func (r *rtpengine) sdp(command map[string]any) (netip.AddrPort, error) {
	answer, err := r.ask(command)
	if err != nil {
		return netip.AddrPort{}, err
	}
	sdp, _ := answer["sdp"].(string)
	if to := audioOf([]byte(sdp)); to.IsValid() {
		return to, nil
	}
	return netip.AddrPort{}, fmt.Errorf("rtpengine: no address in %q", answer)
}

func (r *rtpengine) ask(command map[string]any) (map[string]any, error) {
	r.cookie++
	cookie := strconv.Itoa(r.cookie) + " "
	if _, err := r.conn.Write(bencode([]byte(cookie), command)); err != nil {
		return nil, err
	}
	buf := make([]byte, 65536)
	if err := r.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	for {
		n, err := r.conn.Read(buf)
		if err != nil {
			return nil, err
		}
		body, ok := bytes.CutPrefix(buf[:n], []byte(cookie))
		if !ok {
			continue // an answer that came too late
		}
		v, _, err := bdecode(body)
		answer, ok := v.(map[string]any)
		if err != nil || !ok || answer["result"] == "error" {
			return nil, fmt.Errorf("rtpengine: %s %w", body, err)
		}
		return answer, nil
	}
}

// bencode appends v, of strings, lists and dictionaries.
func bencode(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		dst = append(strconv.AppendInt(dst, int64(len(v)), 10), ':')
		return append(dst, v...)
	case []any:
		dst = append(dst, 'l')
		for _, e := range v {
			dst = bencode(dst, e)
		}
	case map[string]any:
		dst = append(dst, 'd')
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			dst = bencode(bencode(dst, k), v[k])
		}
	}
	return append(dst, 'e')
}

var errBencode = errors.New("not bencoded")

// bdecode reads one value and gives what is behind it. Integers are strings.
func bdecode(b []byte) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errBencode
	}
	switch b[0] {
	case 'i':
		v, rest, ok := bytes.Cut(b[1:], []byte("e"))
		if !ok {
			return nil, nil, errBencode
		}
		return string(v), rest, nil
	case 'l', 'd':
		var list []any
		kind, rest := b[0], b[1:]
		for len(rest) > 0 && rest[0] != 'e' {
			var v any
			var err error
			if v, rest, err = bdecode(rest); err != nil {
				return nil, nil, err
			}
			list = append(list, v)
		}
		if len(rest) == 0 {
			return nil, nil, errBencode
		}
		if kind == 'l' {
			return list, rest[1:], nil
		}
		dict := map[string]any{}
		for ; len(list) >= 2; list = list[2:] {
			if k, ok := list[0].(string); ok {
				dict[k] = list[1]
			}
		}
		return dict, rest[1:], nil
	}
	length, rest, ok := bytes.Cut(b, []byte(":"))
	n, err := strconv.Atoi(string(length))
	if !ok || err != nil || n < 0 || n > len(rest) {
		return nil, nil, errBencode
	}
	return string(rest[:n]), rest[n:], nil
}
