package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// The peers that can be measured on the same workloads.
const (
	peerRTPengine = "rtpengine" // w2, w3
	peerJanus     = "janus"     // w4
)

// compare measures Tipring and a peer in turns, so that a busy machine disturbs both, and prints ratios.
func compare(o options, stop <-chan os.Signal) error {
	if o.peer != peerRTPengine && o.peer != peerJanus {
		return fmt.Errorf("-peer is %s or %s", peerRTPengine, peerJanus)
	}
	if o.install {
		packages := map[string]string{peerRTPengine: "rtpengine-daemon", peerJanus: "janus"}
		cmd := exec.Command("apt-get", "install", "-y", "--no-install-recommends", packages[o.peer])
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get install %s: %w\n%s", packages[o.peer], err, out)
		}
	}
	ours, theirs := o, o
	ours.peer = ""
	var mine, peers []report
	for range o.rounds {
		for _, who := range []struct {
			name string
			o    options
			to   *[]report
		}{{"Tipring", ours, &mine}, {o.peer, theirs, &peers}} {
			fmt.Printf("== %s\n", who.name)
			r, err := workloads(who.o, o.peer, stop)
			if err != nil {
				return fmt.Errorf("%s: %w", who.name, err)
			}
			*who.to = append(*who.to, r)
		}
	}
	ratios(o.peer, mine, peers)
	return nil
}

// workloads are those that the peer has.
func workloads(o options, peer string, stop <-chan os.Signal) (r report, err error) {
	if peer == peerJanus {
		r.W4, err = conferences(o, stop)
		return r, err
	}
	if r.W2, err = relays(o, stop); err != nil {
		return r, err
	}
	r.W3, err = transcodes(o, stop)
	return r, err
}

// ratios prints ours to theirs for each step, the mean over the rounds.
func ratios(peer string, mine, peers []report) {
	fmt.Printf("Tipring / %s, mean of %d rounds in turns\n%-24s %14s %14s %7s %11s %11s\n", peer, len(mine), "", "CPU % Tipring", "CPU % "+peer,
		"ratio", "p99 ms", "p99 ms peer")
	mean := func(of []report, i int) (cpu, p99 float64) {
		for _, r := range of {
			cpu, p99 = cpu+r.steps()[i].cpu, p99+r.steps()[i].p99
		}
		return cpu / float64(len(of)), p99 / float64(len(of))
	}
	for i, s := range mine[0].steps() {
		ours, late := mean(mine, i)
		theirs, lateToo := mean(peers, i)
		fmt.Printf("%-24s %14.1f %14.1f %7.2f %11.2f %11.2f\n", s.name, ours, theirs, ours/theirs, late, lateToo)
	}
}

// step is what is compared of one.
type step struct {
	name     string
	cpu, p99 float64
}

func (r *report) steps() (out []step) {
	for _, s := range r.W2 {
		out = append(out, step{fmt.Sprintf("w2, %d calls", s.Calls), s.CPU, s.DelayP99})
	}
	for _, s := range r.W3 {
		out = append(out, step{fmt.Sprintf("w3, %d calls", s.Calls), s.CPU, s.DelayP99})
	}
	for _, s := range r.W4 {
		out = append(out, step{fmt.Sprintf("w4, %d x %d", s.Rooms, s.Size), s.CPU, s.DelayP99})
	}
	return out
}

// startPeer runs a program of a Debian package.
func startPeer(program, pack string, args ...string) (*server, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed: apt-get install %s, or give -install", program, pack)
	}
	dir, err := os.MkdirTemp("", "tipring-peer-")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &server{pid: cmd.Process.Pid, stop: func() {
		cmd.Process.Kill() //nolint:errcheck // it is gone then
		if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			fmt.Fprintln(os.Stderr, err)
		}
		log.Close()
		os.RemoveAll(dir)
	}}, nil
}
