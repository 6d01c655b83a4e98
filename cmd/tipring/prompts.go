package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prompts are the program's own: spoken by espeak-ng, 8 kHz µ-law. Nobody writes to it.
//
//go:embed prompts/*.wav
var prompts embed.FS

// layers looks for a file in one file system after the other.
type layers []fs.FS

// Open implements fs.FS.
func (l layers) Open(name string) (fs.File, error) {
	for _, layer := range l {
		f, err := layer.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// promptFiles is what file:name.wav finds: the media folder first, which no name leads out of (os.Root), then the
// program's own prompts. Closing it closes the folder.
func promptFiles(c *Config) (fs.FS, *os.Root, error) {
	dir := c.MediaDir
	if dir == "" {
		dir = filepath.Join(c.DataDir, "media")
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, nil, fmt.Errorf("the media folder: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("the media folder: %w", err)
	}
	own, err := fs.Sub(prompts, "prompts")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the program's prompts: %w", err), root.Close())
	}
	return layers{root.FS(), own}, root, nil
}
