package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tipring/tipring/test/harness"
)

// server is the process under load.
type server struct {
	sip  string
	pid  int
	stop func()
}

// serve starts Tipring with an application that bridges load<N> to the callee and one that lets room<N> join the conference of that
// name, or takes the -target.
func serve(o options, callee string) (*server, error) {
	if o.target != "" {
		return &server{sip: o.target, pid: o.pid, stop: func() {}}, nil
	}
	program, err := harness.Program(false)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tipring-load-")
	if err != nil {
		return nil, err
	}
	api, admin, sip := freePort(), freePort(), freePort()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	const key = "tpk_load0123456789abcdefghijklmnopqrstuvwx"
	cmd := exec.Command(program, "serve")
	cmd.Env = append(os.Environ(),
		"TIPRING_HTTP_LISTEN="+api, "TIPRING_ADMIN_LISTEN="+admin, "TIPRING_SIP_LISTEN="+sip, "TIPRING_WEBRTC_LISTEN=127.0.0.1:0", "TIPRING_RTP_PORTS=10000-31999",
		"TIPRING_RTP_BIND=127.0.0.1", "TIPRING_DATA_DIR="+dir, "TIPRING_API_KEY="+key, "TIPRING_LOG_LEVEL=warn", "TIPRING_SHUTDOWN_GRACE=0s")
	cmd.Env = append(cmd.Env, o.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{sip: sip, pid: cmd.Process.Pid}
	s.stop = func() {
		cmd.Process.Kill() //nolint:errcheck // it is gone then
		cmd.Wait()         //nolint:errcheck // killed
		log.Close()
		if b, err := os.ReadFile(log.Name()); err == nil && len(b) > 0 {
			fmt.Fprintf(os.Stderr, "the server's log (end):\n%s\n", b[max(0, len(b)-3000):])
		}
		os.RemoveAll(dir)
	}
	if err := s.prepare(api, admin, key, callee); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) prepare(api, admin, key, callee string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		res, err := http.Get("http://" + admin + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			return errors.New("the server does not get ready")
		}
		time.Sleep(50 * time.Millisecond)
	}
	post := func(path string, body any) (string, error) {
		b, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+api+path, bytes.NewReader(b))
		if err != nil {
			return "", err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusCreated {
			return "", fmt.Errorf("POST %s: %d %s", path, res.StatusCode, out)
		}
		var r struct{ ID string }
		return r.ID, json.Unmarshal(out, &r)
	}
	for number, does := range map[string]map[string]any{
		"load*": {"action": "bridge", "to": "sip:{to_user}@" + callee, "ringback": "none"},
		"room*": {"action": "join", "conference": "{to_user}"},
	} {
		app, err := post("/v1/applications", map[string]any{"name": number, "instructions": []any{does}})
		if err != nil {
			return err
		}
		if _, err := post("/v1/numbers", map[string]any{"number": number, "application_id": app}); err != nil {
			return err
		}
	}
	time.Sleep(300 * time.Millisecond) // the server's own start is not what is measured
	return nil
}

func freePort() string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
