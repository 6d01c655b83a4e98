package recording

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
)

// Sizes of an Ogg page (RFC 3533 6).
const (
	oggHead     = 27
	oggSegments = 255
	oggMaxPage  = oggHead + oggSegments + oggSegments*255
)

// Flags of a page.
const (
	oggFirst = 2
	oggLast  = 4
)

// preSkip is what the decoder gives before the audio begins, in samples of 48 kHz: the look-ahead of libopus.
const preSkip = 312

// samplesPerTurn48 is a turn in the samples that Ogg/Opus counts in.
const samplesPerTurn48 = 960

// oggFile writes packets of Opus into pages (RFC 7845), a second of audio in each at most. The file only ever grows, by
// whole pages, so it can be played at any moment.
type oggFile struct {
	blob     blob
	serial   uint32
	sequence uint32 // of the next page
	size     int64  // of whole pages in the file
	segments []byte
	body     []byte
	granule  int64 // at the end of the packets of the page under way
	began    int64 // granule at its start
	page     []byte
}

func newOggFile(f blob, serial uint32, channels, rate int) (*oggFile, error) {
	o := &oggFile{blob: f, serial: serial}
	head := append([]byte("OpusHead"), 1, byte(channels))
	head = binary.LittleEndian.AppendUint16(head, preSkip)
	head = binary.LittleEndian.AppendUint32(head, uint32(rate))
	head = append(head, 0, 0, 0) // gain, mapping family
	if err := o.header(head, oggFirst); err != nil {
		return nil, err
	}
	const vendor = "tipring"
	tags := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(vendor)))
	tags = append(tags, vendor...)
	tags = binary.LittleEndian.AppendUint32(tags, 0)
	return o, o.header(tags, 0)
}

// header writes a packet on a page of its own.
func (o *oggFile) header(p []byte, flags byte) error {
	o.lay(p)
	return o.turnPage(flags)
}

// lay puts a packet of at most 255 · 254 bytes on the page under way.
func (o *oggFile) lay(p []byte) {
	for n := len(p); ; n -= 255 {
		if n < 255 {
			o.segments = append(o.segments, byte(n))
			break
		}
		o.segments = append(o.segments, 255)
	}
	o.body = append(o.body, p...)
}

// maxPacket bounds packets so that each lies on one page; libopus makes none of more than 1275 bytes per frame.
const maxPacket = 48 * 1275

// packet adds a packet of Opus; granule is the number of samples up to its end.
func (o *oggFile) packet(p []byte, granule int64) error {
	if len(o.segments)+len(p)/255+1 > oggSegments || granule-o.began > 48_000 {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.lay(p)
	o.granule = granule
	return nil
}

// flush writes the page under way.
func (o *oggFile) flush() error {
	if len(o.segments) == 0 {
		return nil
	}
	return o.turnPage(0)
}

func (o *oggFile) turnPage(flags byte) error {
	le := binary.LittleEndian
	b := append(o.page[:0], "OggS"...)
	b = append(b, 0, flags)
	b = le.AppendUint64(b, uint64(o.granule))
	b = le.AppendUint32(b, o.serial)
	b = le.AppendUint32(b, o.sequence)
	b = le.AppendUint32(b, 0) // checksum
	b = append(b, byte(len(o.segments)))
	b = append(append(b, o.segments...), o.body...)
	le.PutUint32(b[22:], oggChecksum(b))
	o.page, o.segments, o.body = b, o.segments[:0], o.body[:0]
	if _, err := o.blob.WriteAt(b, o.size); err != nil {
		return err
	}
	o.size += int64(len(b))
	o.sequence++
	o.began = o.granule
	return nil
}

// last writes the last page, which ends at granule: what the packets hold beyond is not to be heard (RFC 7845 4.4).
func (o *oggFile) last(granule int64) error {
	o.granule = max(granule, o.began)
	err := o.turnPage(oggLast)
	if cutErr := o.blob.Truncate(o.size); err == nil {
		err = cutErr
	}
	return err
}

// oggChecksum is the CRC of a page: the polynomial of Ethernet, bits in the other order, nothing inverted. The standard
// library has the reflected one, so bits are turned on the way in and out.
func oggChecksum(page []byte) uint32 {
	var crc uint32
	var turned [256]byte
	for len(page) > 0 {
		n := min(len(page), len(turned))
		for i, b := range page[:n] {
			turned[i] = bits.Reverse8(b)
		}
		crc = ^crc32.Update(^crc, crc32.IEEETable, turned[:n])
		page = page[n:]
	}
	return bits.Reverse32(crc)
}

// An oggPage is what repair needs to know of a page.
type oggPage struct {
	at, size int64
	flags    byte
	granule  int64
	serial   uint32
	body     []byte // good until the next page is read
}

// readOggPage reads the page at a place of the file, false if no whole and sound one begins there.
func readOggPage(r io.ReaderAt, at int64, buf []byte) (p oggPage, ok bool) {
	buf = buf[:oggMaxPage]
	n, _ := r.ReadAt(buf, at) // a page that is cut off shows in its size
	if n < oggHead || string(buf[:4]) != "OggS" || buf[4] != 0 {
		return p, false
	}
	segments := int(buf[26])
	size := oggHead + segments
	if n < size {
		return p, false
	}
	for _, s := range buf[oggHead : oggHead+segments] {
		size += int(s)
	}
	if n < size {
		return p, false
	}
	le := binary.LittleEndian
	sum := le.Uint32(buf[22:])
	clear(buf[22:26])
	if oggChecksum(buf[:size]) != sum {
		return p, false
	}
	return oggPage{
		at: at, size: int64(size), flags: buf[5], granule: int64(le.Uint64(buf[6:])), serial: le.Uint32(buf[14:]),
		body: buf[oggHead+segments : size],
	}, true
}

// readOpusHead reads the number of channels from the first page of a file.
func readOpusHead(p *oggPage) (channels int, err error) {
	if p.flags&oggFirst == 0 || len(p.body) < 19 || string(p.body[:8]) != "OpusHead" {
		return 0, fmt.Errorf("%w: it is no Ogg/Opus file", errNoRecording)
	}
	return int(p.body[9]), nil
}
