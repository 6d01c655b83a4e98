package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// Secret is size random bytes under an id, the same for all nodes of a store, made when they are first asked for.
func Secret(ctx context.Context, s Store, id string, size int) ([]byte, error) {
	for range 2 {
		it, err := s.Get(ctx, KindSecret, "", id)
		switch {
		case err == nil && len(it.Value) == size:
			return it.Value, nil
		case err == nil:
			return nil, fmt.Errorf("session: the secret %s has %d bytes, not %d", id, len(it.Value), size)
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
		b := make([]byte, size)
		_, _ = rand.Read(b) // never fails (crypto/rand)
		err = s.Create(ctx, Item{Kind: KindSecret, ID: id, Value: b})
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, ErrExists) { // another node was faster
			return nil, err
		}
	}
	return nil, fmt.Errorf("session: the secret %s cannot be read", id)
}
