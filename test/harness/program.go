package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Root is the module's folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("harness: no go.mod above the working directory")
		}
		dir = parent
	}
}

// raceProgram and plainProgram build the program once per test process; the build cache makes the second process cheap.
var (
	raceProgram  = sync.OnceValues(func() (string, error) { return build("-race") })
	plainProgram = sync.OnceValues(func() (string, error) { return build() })
)

// Program is the path of the program, built with the race detector or without. TIPRING_PROGRAM names one to use
// instead.
func Program(race bool) (string, error) {
	if p := os.Getenv("TIPRING_PROGRAM"); p != "" {
		return p, nil
	}
	if race {
		return raceProgram()
	}
	return plainProgram()
}

func build(flags ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	name := "tipring" + strings.Join(flags, "")
	file := filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d-%d", name, os.Getuid(), os.Getpid()))
	cmd := exec.Command("go", append(append([]string{"build", "-o", file}, flags...), "./cmd/tipring")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("harness: go build ./cmd/tipring: %w\n%s", err, out)
	}
	return file, nil
}

// Cleanup removes what Program built; TestMain calls it.
func Cleanup() {
	for _, name := range []string{"tipring", "tipring-race"} {
		os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d-%d", name, os.Getuid(), os.Getpid())))
	}
}
