package engine

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/tipring/tipring/engine/media"
)

// LibraryOptions is where a Library finds audio.
type LibraryOptions struct {
	Files fs.FS // behind file:name.wav; nil: no files
	// Fetch reads an http(s):// URL; it bounds size and time, and refuses what a customer may not reach.
	Fetch    func(ctx context.Context, url string) (data []byte, contentType string, err error)
	MaxBytes int           // of decoded audio that is kept; 0: 64 MiB
	Keep     time.Duration // how long a fetched prompt serves before it is fetched again; 0: 5 min
}

// A Library finds prompts: tones, files of the media folder, URLs. Each is decoded once and shared by all calls that
// play it. It is a Prompts.
type Library struct {
	o LibraryOptions

	mu      sync.Mutex
	entries map[string]*list.Element // of *prompt
	recent  *list.List               // front: used last
	bytes   int
}

// prompt is an entry of the Library. ready is closed when the other fields are there.
type prompt struct {
	url    string
	ready  chan struct{}
	clip   *media.Clip
	loop   int
	err    error
	size   int
	expiry time.Time
}

// NewLibrary makes an empty Library.
func NewLibrary(o LibraryOptions) *Library {
	o.MaxBytes = orDefault(o.MaxBytes, 64<<20)
	o.Keep = orDefault(o.Keep, 5*time.Minute)
	return &Library{o: o, entries: make(map[string]*list.Element), recent: list.New()}
}

// Clip finds the audio that url names. Callers that ask for the same prompt at once wait for one of them.
func (l *Library) Clip(ctx context.Context, url string) (*media.Clip, int, error) {
	for {
		p, mine := l.entry(url)
		if mine {
			l.load(ctx, p)
			return p.clip, p.loop, p.err
		}
		select {
		case <-p.ready:
			if p.err != nil && errors.Is(p.err, context.Canceled) {
				continue // whoever looked for it went away: look ourselves
			}
			return p.clip, p.loop, p.err
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// entry gives the prompt of a URL; mine says that the caller is to load it.
func (l *Library) entry(url string) (p *prompt, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if el := l.entries[url]; el != nil {
		p = el.Value.(*prompt)
		if p.expiry.IsZero() || time.Now().Before(p.expiry) {
			l.recent.MoveToFront(el)
			return p, false
		}
		l.forget(el)
	}
	p = &prompt{url: url, ready: make(chan struct{})}
	l.entries[url] = l.recent.PushFront(p)
	return p, true
}

// load finds the audio and keeps it, if it was found and is not too large.
func (l *Library) load(ctx context.Context, p *prompt) {
	defer close(p.ready)
	clip, loop, err := l.find(ctx, p.url)
	l.mu.Lock()
	defer l.mu.Unlock()
	p.clip, p.loop, p.err = clip, loop, err
	el := l.entries[p.url]
	if err != nil {
		l.forget(el)
		return
	}
	p.size = clip.Size()
	if strings.HasPrefix(p.url, "http") {
		p.expiry = time.Now().Add(l.o.Keep)
	}
	l.bytes += p.size
	for l.bytes > l.o.MaxBytes {
		oldest := l.recent.Back()
		for oldest != nil && oldest.Value.(*prompt).size == 0 {
			oldest = oldest.Prev()
		}
		if oldest == nil {
			return
		}
		l.forget(oldest)
	}
}

func (l *Library) forget(el *list.Element) {
	if el == nil {
		return
	}
	p := l.recent.Remove(el).(*prompt)
	l.bytes -= p.size
	if l.entries[p.url] == el {
		delete(l.entries, p.url)
	}
}

func (l *Library) find(ctx context.Context, url string) (*media.Clip, int, error) {
	scheme, name, _ := strings.Cut(url, ":")
	switch scheme {
	case "tone":
		tone, err := media.ParseTone(url)
		if err != nil {
			return nil, 0, Invalid("/url", "%v", err)
		}
		clip, loop := tone.Clip()
		return clip, loop, nil
	case "file":
		return l.file(name)
	case "http", "https":
		if l.o.Fetch == nil {
			return nil, 0, Errorf(CodeMediaUnavailable, "this node fetches no audio")
		}
		data, _, err := l.o.Fetch(ctx, url)
		if err != nil {
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			return nil, 0, Errorf(CodeMediaUnavailable, "%s could not be fetched: %v", url, err)
		}
		return decode(url, data)
	}
	return nil, 0, Invalid("/url", "%q is no source: write https://…, file:name.wav or tone:440/1000", url)
}

func (l *Library) file(name string) (*media.Clip, int, error) {
	if l.o.Files == nil || !fs.ValidPath(name) {
		return nil, 0, Errorf(CodeMediaUnavailable, "there is no file %q in the media folder", name)
	}
	data, err := fs.ReadFile(l.o.Files, name)
	if err != nil {
		return nil, 0, Errorf(CodeMediaUnavailable, "there is no file %q in the media folder", name)
	}
	return decode("file:"+name, data)
}

func decode(url string, data []byte) (*media.Clip, int, error) {
	clip, err := media.Decode(data, media.WAVOptions{})
	if err != nil {
		return nil, 0, Errorf(CodeMediaUnavailable, "%s is no audio that can be played: %v", url, err)
	}
	return clip, 1, nil
}
