package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // KiB now
}

// usageOf reads /proc; the clock there has ticks of 10 ms.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("the server's process: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 22 {
		return usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	pages, err3 := strconv.ParseInt(f[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return usage{}, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	return usage{time.Duration(user+system) * 10 * time.Millisecond, pages * int64(os.Getpagesize()) / 1024}, nil
}

// ownCPU is what the generator has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
