package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// janus is Debian's janus with the AudioBridge plugin, plain-RTP participants, steered by its HTTP API. Rooms are of 8 kHz,
// and prebuffer one packet.
type janus struct {
	url    string // of the session
	serial int
}

// janusReply is an answer of janus.
type janusReply struct {
	Janus  string
	Sender uint64
	Data   struct{ ID uint64 }
	Error  struct{ Reason string }
	Plugin struct{ Data json.RawMessage } `json:"plugindata"`
}

func startJanus(rooms int) (*janus, *server, error) {
	dir, err := os.MkdirTemp("", "tipring-janus-")
	if err != nil {
		return nil, nil, err
	}
	address := freePort()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	for name, text := range map[string]string{
		"janus.jcfg":                    "general: { debug_level = 1 }\nmedia: { rtp_port_range = \"40000-59999\" }\nplugins: { disable = \"\" }\n",
		"janus.transport.http.jcfg":     "general: { json = \"compact\" base_path = \"/janus\" http = true port = " + port + " ip = \"127.0.0.1\" https = false }\n",
		"janus.plugin.audiobridge.jcfg": "general: { local_ip = \"127.0.0.1\" rtp_port_range = \"40000-59999\" }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, nil, err
		}
	}
	s, err := startPeer("janus", "janus", "-C", filepath.Join(dir, "janus.jcfg"), "-F", dir)
	if err != nil {
		return nil, nil, err
	}
	stop := s.stop
	s.stop = func() { stop(); os.RemoveAll(dir) }
	j := &janus{url: "http://" + address + "/janus"}
	if err := j.prepare(rooms); err != nil {
		s.stop()
		return nil, nil, err
	}
	return j, s, nil
}

func (j *janus) prepare(rooms int) error {
	var r janusReply
	var err error
	for range 100 {
		if r, err = j.post(j.url, map[string]any{"janus": "create"}); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	j.url += "/" + strconv.FormatUint(r.Data.ID, 10)
	handle, err := j.attach()
	if err != nil {
		return err
	}
	for i := range rooms {
		_, err := j.post(handle, map[string]any{"janus": "message", "body": map[string]any{
			"request": "create", "room": i + 1, "sampling_rate": 8000, "audiolevel_event": false, "default_prebuffering": 1,
			"allow_rtp_participants": true,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *janus) attach() (string, error) {
	r, err := j.post(j.url, map[string]any{"janus": "attach", "plugin": "janus.plugin.audiobridge"})
	return j.url + "/" + strconv.FormatUint(r.Data.ID, 10), err
}

// join brings a participant with its RTP at our port into a room, and says where his goes.
func (j *janus) join(room, port int) (netip.AddrPort, error) {
	handle, err := j.attach()
	if err != nil {
		return netip.AddrPort{}, err
	}
	_, err = j.post(handle, map[string]any{"janus": "message", "body": map[string]any{
		"request": "join", "room": room + 1, "codec": "pcmu", "prebuffer": 1,
		"rtp": map[string]any{"ip": "127.0.0.1", "port": port, "payload_type": 0},
	}})
	if err != nil {
		return netip.AddrPort{}, err
	}
	for range 50 {
		var events []janusReply
		res, err := http.Get(j.url + "?maxev=10")
		if err != nil {
			return netip.AddrPort{}, err
		}
		err = json.NewDecoder(res.Body).Decode(&events)
		res.Body.Close()
		if err != nil {
			return netip.AddrPort{}, err
		}
		for _, e := range events {
			var data struct {
				Audiobridge, Error string
				RTP                struct {
					IP   string
					Port uint16
				} `json:"rtp"`
			}
			if len(e.Plugin.Data) == 0 || json.Unmarshal(e.Plugin.Data, &data) != nil {
				continue
			}
			if data.Error != "" {
				return netip.AddrPort{}, fmt.Errorf("janus: %s", data.Error)
			}
			if data.RTP.Port != 0 && handle == j.url+"/"+strconv.FormatUint(e.Sender, 10) {
				return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), data.RTP.Port), nil
			}
		}
	}
	return netip.AddrPort{}, fmt.Errorf("janus does not say where the participant's RTP goes")
}

func (j *janus) post(url string, body map[string]any) (janusReply, error) {
	j.serial++
	body["transaction"] = strconv.Itoa(j.serial)
	b, err := json.Marshal(body)
	if err != nil {
		return janusReply{}, err
	}
	res, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		return janusReply{}, err
	}
	defer res.Body.Close()
	var r janusReply
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		return r, err
	}
	if r.Janus == "error" {
		return r, fmt.Errorf("janus: %s", r.Error.Reason)
	}
	return r, nil
}
