package arch

import (
	"fmt"
	"slices"
	"strings"
)

// allowed is the layer picture of DESIGN 3: each package of the product and what of ours it may import. A door never
// stands in another door's list.
func allowed() map[string][]string {
	engine := []string{"engine", "engine/media", "engine/codec", "engine/dtmf", "engine/id"}
	with := func(base []string, more ...string) []string { return slices.Concat(base, more) }
	return map[string][]string{
		// the audio floor
		"engine/codec":           {},
		"engine/dtmf":            {"engine/codec"},
		"engine/media":           {"engine/codec"},
		"engine/media/mediatest": {"engine/codec", "engine/media"},
		"engine/mixer":           {"engine/codec", "engine/media"},
		// packets on the wire: knows the audio floor, not the engine
		"engine/rtp": {"engine/codec", "engine/media", "engine/mixer", "engine/dtmf"},
		// leaves
		"engine/egress": {},
		"engine/id":     {},
		"engine/token":  {},
		"web":           {},
		// the domain
		"engine": {"engine/codec", "engine/media", "engine/mixer", "engine/dtmf", "engine/id"},
		// what was said, in files
		"engine/recording": with(engine),
		// what outlives us, what is seen of us
		"engine/session":             with(engine),
		"engine/session/sessiontest": with(engine, "engine/session"),
		"engine/monitor":             with(engine),
		// doors
		"engine/sip":             with(engine, "engine/rtp", "engine/sip/transaction"),
		"engine/sip/transaction": {},
		"engine/webrtc":          with(engine, "engine/rtp", "engine/token"),
		"engine/cluster":         with(engine, "engine/session", "engine/monitor"),
		"api":                    with(engine, "engine/session", "engine/monitor", "engine/egress", "engine/token", "api/docs", "api/problem", "api/stream", "api/webhook"),
		"api/docs":               with(engine, "api/problem"),
		"api/problem":            with(engine),
		"api/stream":             with(engine, "engine/session", "api/problem"),
		"api/webhook":            with(engine, "engine/session", "engine/egress", "api/problem", "api/stream"),
	}
}

// wiring may import everything of the product; nobody imports it.
func wiring(pkg string) bool {
	return pkg == "cmd/tipring" || strings.HasPrefix(pkg, "cmd/")
}

// keepers are the modules that one room keeps for itself, with the rooms that may import them.
func keepers() map[string][]string {
	return map[string][]string{
		"go.etcd.io/bbolt":                      {"engine/session"},
		"github.com/redis/go-redis":             {"engine/session"},
		"github.com/emiago/sipgo":               {"engine/sip", "engine/sip/transaction", "test/"},
		"github.com/pion/sdp":                   {"engine/sip", "engine/webrtc", "test/"},
		"github.com/pion/webrtc":                {"engine/webrtc", "test/"},
		"github.com/getkin/kin-openapi":         {"api", "api/docs", "test/"},
		"github.com/go-chi/chi":                 {"api"},
		"github.com/prometheus/client_golang":   {"engine/monitor", "cmd/", "test/"},
		"github.com/gorilla/websocket":          {"api", "api/stream", "api/webhook", "engine/egress", "engine/webrtc", "test/"},
		"gopkg.in/yaml.v3":                      {"cmd/", "test/"},
		"go.yaml.in/yaml":                       {"cmd/", "test/"},
		"github.com/oapi-codegen/runtime":       {"api", "test/"},
		"github.com/oapi-codegen/oapi-codegen/": {},
	}
}

// floor are the packages without sockets, goroutines, logging and clocks.
func floor() []string { return []string{"engine/codec", "engine/media", "engine/mixer", "engine/dtmf"} }

// Layers says what is wrong with the imports of the packages: tests of a package may import what they like of the
// product, but the product never imports test/.
func Layers(pkgs []Package) []string {
	var bad []string
	table := allowed()
	for _, p := range pkgs {
		if strings.HasPrefix(p.Path, "test") {
			continue
		}
		list, known := table[p.Path]
		if !known && !wiring(p.Path) && len(p.Files) > 0 {
			bad = append(bad, fmt.Sprintf("%s: not in the layer table of test/arch/layers.go; add it with what it may import", p.Path))
			continue
		}
		for _, f := range p.Files {
			for _, imp := range f.Imports() {
				rel, ours := strings.CutPrefix(imp, Module+"/")
				switch {
				case !ours:
				case strings.HasPrefix(rel, "test/") || strings.HasPrefix(rel, "cmd/"):
					bad = append(bad, fmt.Sprintf("%s: imports %s, which nobody may import", f.Path, rel))
				case !wiring(p.Path) && !slices.Contains(list, rel):
					bad = append(bad, fmt.Sprintf("%s: imports %s; the layers allow %s only %v", f.Path, rel, p.Path, list))
				}
			}
		}
	}
	return append(bad, kept(pkgs)...)
}

func kept(pkgs []Package) []string {
	var bad []string
	for _, p := range pkgs {
		for _, f := range p.Files {
			for _, imp := range f.Imports() {
				for module, rooms := range keepers() {
					if !strings.HasPrefix(imp, module) {
						continue
					}
					if !slices.ContainsFunc(rooms, func(r string) bool {
						return r == p.Path || strings.HasSuffix(r, "/") && strings.HasPrefix(p.Path+"/", r)
					}) {
						bad = append(bad, fmt.Sprintf("%s: imports %s, which only %v may", f.Path, imp, rooms))
					}
				}
			}
		}
	}
	slices.Sort(bad)
	return bad
}
