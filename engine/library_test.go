package engine_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
)

func wav(t *testing.T, samples int) []byte {
	t.Helper()
	clip, err := media.NewClip(8000, make([]int16, samples))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := media.EncodeWAV(&b, clip); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAPromptIsFetchedOnceForAllWhoPlayIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		data := wav(t, 8000)
		l := engine.NewLibrary(engine.LibraryOptions{Keep: time.Minute, Fetch: func(context.Context, string) ([]byte, string, error) {
			fetched.Add(1)
			time.Sleep(time.Second)
			return data, "audio/wav", nil
		}})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if clip, loop, err := l.Clip(t.Context(), "https://x/a.wav"); err != nil || loop != 1 || len(clip.PCM()) != 8000 {
					t.Errorf("got %v %v %v", clip, loop, err)
				}
			})
		}
		wg.Wait()
		if n := fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
		time.Sleep(2 * time.Minute)
		if _, _, err := l.Clip(t.Context(), "https://x/a.wav"); err != nil || fetched.Load() != 2 {
			t.Errorf("a prompt is kept too long: %v, %d fetches", err, fetched.Load())
		}
	})
}

func TestWhoeverFetchesAPromptMayGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := wav(t, 80)
		l := engine.NewLibrary(engine.LibraryOptions{Fetch: func(ctx context.Context, _ string) ([]byte, string, error) {
			select {
			case <-time.After(time.Second):
				return data, "", nil
			case <-ctx.Done():
				return nil, "", ctx.Err()
			}
		}})
		ctx, stop := context.WithCancel(t.Context())
		go func() { _, _, _ = l.Clip(ctx, "https://x/a.wav") }()
		synctest.Wait()
		go func() { time.Sleep(time.Millisecond); stop() }()
		if _, _, err := l.Clip(t.Context(), "https://x/a.wav"); err != nil {
			t.Errorf("the second call got %v", err)
		}
	})
}

func TestTheLibraryKeepsNoMoreThanItMay(t *testing.T) {
	fetched := map[string]int{}
	data := wav(t, 1000) // 3 000 bytes of memory
	l := engine.NewLibrary(engine.LibraryOptions{MaxBytes: 7000, Fetch: func(_ context.Context, url string) ([]byte, string, error) {
		fetched[url]++
		return data, "", nil
	}})
	for _, u := range []string{"https://x/1", "https://x/2", "https://x/1", "https://x/3", "https://x/1", "https://x/2"} {
		if _, _, err := l.Clip(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if fetched["https://x/1"] != 1 || fetched["https://x/2"] != 2 {
		t.Errorf("fetched %v", fetched)
	}
}

func TestSourcesThatCannotBePlayed(t *testing.T) {
	l := engine.NewLibrary(engine.LibraryOptions{
		Files: fstest.MapFS{"ok.wav": {Data: wav(t, 80)}, "bad.wav": {Data: []byte("RIFFxxxx")}},
		Fetch: func(context.Context, string) ([]byte, string, error) { return nil, "", errors.New("private address") },
	})
	for url, code := range map[string]engine.Code{
		"file:ok.wav": "", "file:../ok.wav": engine.CodeMediaUnavailable, "file:/ok.wav": engine.CodeMediaUnavailable,
		"file:none.wav": engine.CodeMediaUnavailable, "file:bad.wav": engine.CodeMediaUnavailable,
		"https://x": engine.CodeMediaUnavailable, "tone:440/100": "", "tone:nonsense": engine.CodeValidation, "x": engine.CodeValidation,
	} {
		if _, _, err := l.Clip(t.Context(), url); engine.ErrorCode(err) != code {
			t.Errorf("%s: got %v, want %q", url, err, code)
		}
	}
}
