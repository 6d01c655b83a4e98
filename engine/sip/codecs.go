package sip

import (
	"errors"
	"slices"
	"strings"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
)

var _ engine.Preferrer = (*Leg)(nil)

// spoken are the codecs of the door that names names, in that order; all of them if it names none. unknown is the index
// of the first name that the door does not speak, -1 if it speaks all.
func (d *Door) spoken(names []string) (codecs []codec.Codec, unknown int) {
	if len(names) == 0 {
		return d.o.Codecs, -1
	}
	unknown = -1
	for i, name := range names {
		at := slices.IndexFunc(d.o.Codecs, func(c codec.Codec) bool { return strings.EqualFold(c.Name, name) })
		switch {
		case at < 0:
			if unknown < 0 {
				unknown = i
			}
		case !slices.Contains(codecs, d.o.Codecs[at]):
			codecs = append(codecs, d.o.Codecs[at])
		}
	}
	return codecs, unknown
}

// codecs are those of the leg: what the application named, else the door's.
func (l *Leg) codecs() []codec.Codec {
	codecs, _ := l.door.spoken(l.state.Media.Codecs)
	return codecs
}

// Prefer implements engine.Preferrer: the answer to the far end's offer is made anew, by the order of codecs instead of
// the far end's. Names that the door does not speak are passed over. It is too late once the far end has an answer, in
// a 183 or a 200.
func (l *Leg) Prefer(codecs []string) error {
	if !l.inbound || l.phase() != calling || l.promised.Load() {
		return errState("the codec of a call can be chosen until it is answered or hears early media")
	}
	if _, err := l.prefer(l.snapshot.Load().Media, codecs); err != nil {
		return err
	}
	return l.post(func() {
		if l.uas == nil || l.phase() != calling || l.early {
			return
		}
		m, err := l.prefer(l.state.Media, codecs)
		if err != nil {
			l.log.Error("no answer with the preferred codecs", "error", err)
			return
		}
		l.state.Media = m
		l.publish()
	})
}

// prefer is m, which nothing was told the far end of, negotiated with the codecs that names names.
func (l *Leg) prefer(m MediaState, names []string) (MediaState, error) {
	codecs, _ := l.door.spoken(names)
	next := MediaState{
		SessionID: m.SessionID, Version: m.Version, Address: m.Address,
		Codecs: slices.Clone(names), OurOrder: len(names) > 0,
	}
	if len(codecs) == 0 {
		return m, engine.Errorf(engine.CodeUnsupported, "this node speaks none of %s", strings.Join(names, ", "))
	}
	if m.Remote == nil {
		return next, nil // we offer, in the 200
	}
	next, err := next.answer(m.Remote, codecs)
	if errors.Is(err, errNoCodec) {
		return m, engine.Errorf(engine.CodeUnsupported, "the far end offers none of %s", strings.Join(names, ", "))
	}
	return next, err
}
