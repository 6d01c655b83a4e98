package session

import (
	"bytes"
	"context"
	"sync"
	"testing"
)

// Whoever asks first makes a secret; all get the same, and one of another size is refused.
func TestSecret(t *testing.T) {
	s, err := OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var mu sync.Mutex
	var got [][]byte
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			b, err := Secret(context.Background(), s, "tokens", 32)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			got = append(got, b)
			mu.Unlock()
		})
	}
	asking.Wait()
	for _, b := range got {
		if len(b) != 32 || !bytes.Equal(b, got[0]) || bytes.Equal(b, make([]byte, 32)) {
			t.Errorf("%x", b)
		}
	}
	other, err := Secret(context.Background(), s, "other", 32)
	if err != nil || bytes.Equal(other, got[0]) {
		t.Errorf("%x %v", other, err)
	}
	if _, err := Secret(context.Background(), s, "tokens", 16); err == nil {
		t.Error("another size is taken")
	}
}
