// Command tipring is the whole platform in one program: see "tipring help".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set by the linker.
var version string

const help = `Tipring answers calls, makes calls and steers them by HTTP.

Usage: tipring COMMAND [flags]

  serve           run the platform
  serve --dev     run it for trying out: loopback only, with a key and demo numbers
  check-config    print the settings in force and where each came from, or what is wrong with them
  sample-config   print a configuration file with every setting, its default and its sentence
  version         print the version
  help            print this

"tipring serve --help" lists the settings.
`

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is main with what it touches as arguments; it returns the exit code: 0, 1 for what went wrong, 2 for wrong use.
func run(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, help)
		return 2
	}
	switch command := args[0]; command {
	case "serve", "check-config":
		l, err := load(command, args[1:], environ, stdout)
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		if err != nil {
			fmt.Fprintf(stderr, "tipring: %v\n", err)
			return 2
		}
		for _, w := range l.warnings {
			fmt.Fprintf(stderr, "tipring: %s\n", w)
		}
		if command == "check-config" {
			writeConfig(stdout, l.settings)
			return 0
		}
		if err := serve(&l.Config, stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "tipring: %v\n", err)
			return 1
		}
		return 0
	case "sample-config":
		writeSample(stdout, defaults().settings)
		return 0
	case "version", "--version", "-v":
		fmt.Fprintf(stdout, "tipring %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case "help", "--help", "-h":
		fmt.Fprint(stdout, help)
		return 0
	default:
		fmt.Fprintf(stderr, "tipring: there is no command %q\n\n%s", command, help)
		return 2
	}
}

// versionText is what the linker set, else what the Go tool knows.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
