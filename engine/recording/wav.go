package recording

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Format tags of RIFF WAVE.
const (
	wavPCM   = 1
	wavAlaw  = 6
	wavMulaw = 7
)

// wavHeader is what stands before the samples.
type wavHeader struct{ format, channels, rate, bits int }

func (h wavHeader) block() int { return h.channels * h.bits / 8 }

// size is the number of bytes before the samples.
func (h wavHeader) size() int {
	if h.format == wavPCM {
		return 44
	}
	return 58 // a longer fmt chunk, and fact
}

// append writes the header of a file with data bytes of samples.
func (h wavHeader) append(b []byte, data int64) []byte {
	le := binary.LittleEndian
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(int64(h.size())-8+data))
	b = append(b, "WAVEfmt "...)
	if h.format == wavPCM {
		b = le.AppendUint32(b, 16)
	} else {
		b = le.AppendUint32(b, 18)
	}
	b = le.AppendUint16(b, uint16(h.format))
	b = le.AppendUint16(b, uint16(h.channels))
	b = le.AppendUint32(b, uint32(h.rate))
	b = le.AppendUint32(b, uint32(h.rate*h.block()))
	b = le.AppendUint16(b, uint16(h.block()))
	b = le.AppendUint16(b, uint16(h.bits))
	if h.format != wavPCM {
		b = le.AppendUint16(b, 0)
		b = append(b, "fact"...)
		b = le.AppendUint32(b, 4)
		b = le.AppendUint32(b, uint32(data/int64(h.block())))
	}
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(data))
}

// readWAVHeader reads a header that append wrote.
func readWAVHeader(r io.ReaderAt) (wavHeader, error) {
	var b [58]byte
	n, err := r.ReadAt(b[:], 0)
	if n < 44 {
		return wavHeader{}, fmt.Errorf("%w: it has %d bytes (%w)", errNoRecording, n, err)
	}
	le := binary.LittleEndian
	h := wavHeader{
		format: int(le.Uint16(b[20:])), channels: int(le.Uint16(b[22:])), rate: int(le.Uint32(b[24:])),
		bits: int(le.Uint16(b[34:])),
	}
	known := h.format == wavPCM && h.bits == 16 || (h.format == wavAlaw || h.format == wavMulaw) && h.bits == 8
	switch {
	case string(b[:4]) != "RIFF" || string(b[8:16]) != "WAVEfmt ", !known, h.channels < 1 || h.channels > 2,
		h.rate < 8000 || h.rate > 48_000, n < h.size(), string(b[h.size()-8:h.size()-4]) != "data":
		return wavHeader{}, fmt.Errorf("%w: it is no WAV file of ours", errNoRecording)
	}
	return h, nil
}

// blob is a file under way.
type blob interface {
	io.WriterAt
	Truncate(size int64) error
}

// wavFile writes samples in chunks. Its header tells of all that was flushed.
type wavFile struct {
	blob   blob
	header wavHeader
	data   int64 // bytes of samples in the file
	told   int64 // of them in the header
	buf    []byte
	head   []byte
}

// chunk is how much is written at once, about.
const chunk = 64 << 10

func newWAVFile(f blob, h wavHeader) (*wavFile, error) {
	w := &wavFile{blob: f, header: h}
	return w, w.writeHeader()
}

// capacity is how many turns of n bytes the file can hold: sizes have 32 bits.
func (w *wavFile) capacity(n int) int { return (math.MaxUint32 - 1024) / n }

func (w *wavFile) write(p []byte) error {
	w.buf = append(w.buf, p...)
	if len(w.buf) < chunk {
		return nil
	}
	return w.empty()
}

// empty writes the buffer behind what is there. When it fails, whole samples that got through stay, and the rest is
// forgotten.
func (w *wavFile) empty() error {
	n, err := w.blob.WriteAt(w.buf, int64(w.header.size())+w.data)
	if err != nil {
		n -= n % w.header.block()
	}
	w.data += int64(n)
	w.buf = w.buf[:0]
	return err
}

func (w *wavFile) writeHeader() error {
	w.head = w.header.append(w.head[:0], w.data)
	_, err := w.blob.WriteAt(w.head, 0)
	if err == nil {
		w.told = w.data
	}
	return err
}

// flush writes the samples first: a header never promises more than is there.
func (w *wavFile) flush() error {
	if len(w.buf) > 0 {
		if err := w.empty(); err != nil {
			return err
		}
	}
	if w.told == w.data {
		return nil
	}
	return w.writeHeader()
}

// end leaves a whole file even behind a write that failed: it is cut to what its header says.
func (w *wavFile) end() error {
	err := w.empty()
	if headErr := w.writeHeader(); err == nil {
		err = headErr
	}
	if cutErr := w.blob.Truncate(int64(w.header.size()) + w.data); err == nil {
		err = cutErr
	}
	return err
}
