package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// loaded is a Config with where each of its values came from.
type loaded struct {
	Config
	settings []*setting
	warnings []string // about what is odd but no error
}

// load reads the settings for a command: flags over environment over file over defaults. args are the command's
// arguments, environ is as os.Environ gives it. flag.ErrHelp says that help was asked for and printed to usage.
func load(command string, args, environ []string, usage io.Writer) (*loaded, error) {
	l := defaults()
	given, err := l.parseFlags(command, args, usage)
	if err != nil {
		return nil, err
	}
	if l.Dev {
		for _, s := range l.settings {
			if s.hasDev {
				if err := s.set(s.dev, fromDev); err != nil {
					return nil, fmt.Errorf("the default of %s under --dev: %w", s.name, err)
				}
			}
		}
	}
	environment := environmentOf(environ)
	if l.File == "" {
		l.File = environment["TIPRING_CONFIG"]
	}
	errs := l.readFile()
	errs = append(errs, l.readEnvironment(environment)...)
	for _, g := range given {
		if err := g.setting.set(g.text, fromFlag); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", g.setting.flag(), err))
		}
	}
	if len(errs) == 0 {
		errs = l.validate()
	}
	if len(errs) > 0 {
		return l, errAll("the configuration is wrong", errs)
	}
	return l, nil
}

// flagValue is a flag that was given; it is applied last.
type flagValue struct {
	setting *setting
	text    string
}

func (l *loaded) parseFlags(command string, args []string, usage io.Writer) (given []flagValue, err error) {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are returned, and said once
	flags.StringVar(&l.File, "config", "", "")
	flags.BoolVar(&l.Dev, "dev", false, "")
	for _, s := range l.settings {
		add := func(text string) error {
			given = append(given, flagValue{s, text})
			return nil
		}
		if s.isBool() {
			flags.BoolFunc(s.flag(), "", add)
		} else {
			flags.Func(s.flag(), "", add)
		}
	}
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		writeUsage(usage, command, l.settings)
		return nil, err
	case err != nil:
		return nil, l.flagError(err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%s takes no argument %q; flags begin with --", command, flags.Arg(0))
	}
	return given, nil
}

// flagError says it in our words when a flag does not exist.
func (l *loaded) flagError(err error) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return err
	}
	return fmt.Errorf("--%s: %w", name, errUnknown(strings.ReplaceAll(name, "-", "_"), append(l.names(), "config", "dev")))
}

func (l *loaded) names() []string {
	var names []string
	for _, s := range l.settings {
		names = append(names, s.name)
	}
	return names
}

func (l *loaded) find(name string) *setting {
	for _, s := range l.settings {
		if s.name == name {
			return s
		}
	}
	return nil
}

func environmentOf(environ []string) map[string]string {
	m := map[string]string{}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && strings.HasPrefix(k, "TIPRING_") {
			m[k] = v
		}
	}
	return m
}

// readEnvironment applies the twins. A name of no setting is a warning only: other programs may have such names.
func (l *loaded) readEnvironment(environment map[string]string) (errs []error) {
	delete(environment, "TIPRING_CONFIG")
	for _, s := range l.settings {
		if text, ok := environment[s.env()]; ok {
			if err := s.set(text, fromEnv); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.env(), err))
			}
			delete(environment, s.env())
		}
	}
	for name := range environment {
		l.warnings = append(l.warnings, name+" is not used: "+
			errUnknown(strings.ToLower(strings.TrimPrefix(name, "TIPRING_")), l.names()).Error())
	}
	slices.Sort(l.warnings)
	return errs
}

// readFile applies the file, one mapping from names to scalars or lists of them.
func (l *loaded) readFile() []error {
	if l.File == "" {
		return nil
	}
	text, err := os.ReadFile(l.File)
	if err != nil {
		return []error{err}
	}
	return l.readYAML(text)
}

func (l *loaded) readYAML(text []byte) (errs []error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) { // nothing, or comments alone
			return nil
		}
		return []error{fmt.Errorf("%s: %w", l.File, err)}
	}
	at := func(n *yaml.Node, err error) { errs = append(errs, fmt.Errorf("%s:%d: %w", l.File, n.Line, err)) }
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		at(&doc, errors.New("the file holds more than one document"))
		return errs
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		at(root, errors.New("the file is to be a mapping, with one line \"name: value\" for each setting"))
		return errs
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s := l.find(key.Value)
		if s == nil {
			at(key, errUnknown(key.Value, l.names()))
			continue
		}
		if line := seen[s.name]; line > 0 {
			at(key, fmt.Errorf("%s stands in line %d already", s.name, line))
			continue
		}
		seen[s.name] = key.Line
		text, err := yamlText(value)
		if err == nil {
			err = s.set(text, fromFile)
		}
		if err != nil {
			at(value, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errs
}

// yamlText is a scalar's text, or that of a list with commas between.
func yamlText(n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", nil
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind != yaml.SequenceNode:
		return "", errors.New("write a single value, or a list of them")
	}
	var parts []string
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode || strings.Contains(e.Value, ",") {
			return "", errors.New("write a list of single values, without commas in them")
		}
		parts = append(parts, e.Value)
	}
	return strings.Join(parts, ","), nil
}

// defaults are the settings if nothing sets them.
func defaults() *loaded {
	l := &loaded{}
	l.settings = settingsOf(&l.Config)
	for _, s := range l.settings {
		if err := s.set(s.def, fromDefault); err != nil {
			panic(fmt.Sprintf("the default of %s: %v", s.name, err)) // a tag in config.go is wrong; tests see it
		}
	}
	return l
}
