package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Options tune the embedded store; the zero value is right for production.
type Options struct {
	// NoSync leaves it to the operating system when writes reach the disk: a power cut may lose the last seconds or
	// the file. For tests.
	NoSync bool
	// LockTimeout is how long to wait for another process to leave the file; 0: 1 s.
	LockTimeout time.Duration
	// CompactFrom is the size in bytes from which a file that is half empty is rewritten when it is opened; 0: 64 MiB.
	// Between openings the file does not shrink: what Prune frees is used again.
	CompactFrom int64
	// Logger takes what the store does on its own. nil: nothing is logged.
	Logger *slog.Logger
}

// mmapSize is the address space taken at first, so that a small store never has to wait for its readers to grow.
const mmapSize = 256 << 20

// embedded is a Store in one bbolt file. Reads are transactions of their own on the last committed state; writes go
// through the committer, which shares one transaction, and so one fsync, among all that wait.
type embedded struct {
	db       *bolt.DB
	commits  *committer
	watchers watchers
	remove   string // folder to remove on Close
}

var _ Store = (*embedded)(nil)

// OpenEmbedded opens the store in the file at path, which is made if it is not there (its folder too). One process has
// it open at a time: if it is locked by another, or cannot be written, the error says so.
func OpenEmbedded(path string, o Options) (Store, error) {
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.CompactFrom <= 0 {
		o.CompactFrom = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("session: the folder of %s cannot be made: %w", path, err)
	}
	db, err := openFile(path, o)
	if err != nil {
		return nil, err
	}
	if db, err = compact(db, path, o); err != nil {
		return nil, err
	}
	s := &embedded{db: db}
	if err := db.Update(createBuckets); err != nil {
		return nil, errors.Join(fmt.Errorf("session: prepare %s: %w", path, err), db.Close())
	}
	s.commits = newCommitter(db, s.watchers.notify)
	return s, nil
}

// OpenMemory opens an embedded store in a file of its own that is gone when it is closed. For tests and trials.
func OpenMemory() (Store, error) {
	dir, err := os.MkdirTemp("", "tipring-store-")
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s, err := OpenEmbedded(filepath.Join(dir, "tipring.db"), Options{NoSync: true})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.(*embedded).remove = dir
	return s, nil
}

func openFile(path string, o Options) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         o.LockTimeout,
		NoSync:          o.NoSync,
		NoFreelistSync:  true, // the list of free pages is found again at the next opening; writing it is dear after a Prune
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mmapSize,
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("session: %s is in use by another process: is a second tipring running with the same "+
			"data directory? (waited %v)", path, o.LockTimeout)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("session: %s is no store of Tipring, or it is damaged: %w", path, err)
	default:
		return nil, fmt.Errorf("session: %s cannot be opened for writing: %w", path, err)
	}
}

// compact rewrites a file of which more than half is free, in a new file that takes its place.
func compact(db *bolt.DB, path string, o Options) (*bolt.DB, error) {
	var size int64
	if err := db.View(func(t *bolt.Tx) error { size = t.Size(); return nil }); err != nil {
		return nil, errors.Join(fmt.Errorf("session: read %s: %w", path, err), db.Close())
	}
	free := int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
	if size < o.CompactFrom || free*2 < size {
		return db, nil
	}
	if err := rewrite(db, path+".compact", o); err != nil {
		o.Logger.Warn("the store was not compacted", "path", path, "error", err)
		return db, nil
	}
	// The old file stays locked until the new one has its name.
	if err := os.Rename(path+".compact", path); err != nil {
		return nil, errors.Join(fmt.Errorf("session: %w", err), db.Close())
	}
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	o.Logger.Info("the store was compacted", "path", path, "bytes_before", size, "bytes_free", free)
	return openFile(path, o)
}

func rewrite(db *bolt.DB, path string, o Options) (err error) {
	_ = os.Remove(path) // of an attempt that was interrupted
	dst, err := openFile(path, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := bolt.Compact(dst, db, 16<<20); err != nil {
		return fmt.Errorf("session: compact: %w", err)
	}
	return dst.Sync()
}

// Close implements Store.
func (s *embedded) Close() error {
	s.commits.close()
	err := s.db.Close()
	if s.remove != "" {
		err = errors.Join(err, os.RemoveAll(s.remove))
	}
	if err != nil {
		return fmt.Errorf("session: close: %w", err)
	}
	return nil
}

// Watch implements Store.
func (s *embedded) Watch(ctx context.Context, kind Kind) <-chan struct{} {
	return s.watchers.add(ctx, kind)
}

// view runs f on the last committed state.
func (s *embedded) view(ctx context.Context, f func(tx *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.View(func(t *bolt.Tx) error { return f(newTx(t)) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
