package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Open reads the file of a complete recording, with its size and the time of its last change. format is "wav" or "ogg".
// The error is fs.ErrNotExist if there is none, ErrName if it cannot be one.
func (d *Disk) Open(project, id, format string) (f io.ReadSeekCloser, size int64, changed time.Time, err error) {
	n, err := fileName(project, id, format)
	if err != nil {
		return nil, 0, time.Time{}, err
	}
	file, err := d.root.Open(n.whole())
	if err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("recording: open %s: %w", id, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, 0, time.Time{}, errors.Join(fmt.Errorf("recording: open %s: %w", id, err), file.Close())
	}
	return file, info.Size(), info.ModTime(), nil
}

// Delete removes the file of a complete recording. One that is not there does not matter.
func (d *Disk) Delete(project, id, format string) error {
	n, err := fileName(project, id, format)
	if err != nil {
		return err
	}
	if err := d.root.Remove(n.whole()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recording: delete %s: %w", id, err)
	}
	return nil
}

// Prune removes the files of complete recordings that were last changed before, and returns how many there were. It goes
// on when one cannot be removed, and gives the errors at its end.
func (d *Disk) Prune(before time.Time) (removed int, err error) {
	err = d.each(func(n name, part bool) error {
		if part {
			return nil
		}
		info, err := d.root.Lstat(n.whole())
		if err != nil || !info.ModTime().Before(before) {
			return ignoreMissing(err)
		}
		if err := d.root.Remove(n.whole()); err != nil {
			return ignoreMissing(err)
		}
		removed++
		return nil
	})
	return removed, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// each calls f for every file of a recording, and joins its errors.
func (d *Disk) each(f func(n name, part bool) error) error {
	projects, err := d.readDir(".")
	if err != nil {
		return fmt.Errorf("recording: read the folder: %w", err)
	}
	var errs []error
	for _, p := range projects {
		if !p.IsDir() || !isID(p.Name()) {
			continue
		}
		files, err := d.readDir(p.Name())
		if err != nil {
			errs = append(errs, fmt.Errorf("recording: read the folder: %w", err))
			continue
		}
		for _, file := range files {
			n, part, ok := parseName(p.Name(), file.Name())
			if !ok || !file.Type().IsRegular() {
				continue
			}
			if err := f(n, part); err != nil {
				errs = append(errs, fmt.Errorf("recording %s: %w", n.id, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (d *Disk) readDir(path string) ([]os.DirEntry, error) {
	dir, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.ReadDir(-1)
}
