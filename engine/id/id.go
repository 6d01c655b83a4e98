// Package id makes the ids of everything that Tipring names.
package id

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// alphabet is Crockford's base 32 in lower case: no i, l, o, u. Its order is that of the digits' values, so ids sort
// as their times do.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// size is the number of digits behind the prefix.
const size = 26

// New makes an id such as "call_01jb3v8x0c4f7kq2m9n5r6s7t8": the prefix, then 26 digits that sort by the time they
// were made at. Ids of different microseconds are in order; 70 random bits keep ids of the same microsecond, from any
// number of nodes, apart. The first ten digits are those of a ULID. Safe for concurrent use.
func New(prefix string) string { return At(prefix, time.Now()) }

// At makes an id as New does, of the given time: ids made later than t are greater than all of At(prefix, t).
func At(prefix string, t time.Time) string {
	micros := uint64(max(t.UnixMicro(), 0))
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)

	b := make([]byte, 0, len(prefix)+1+size)
	b = append(append(b, prefix...), '_')
	b = appendDigits(b, micros/1000, 10)
	b = appendDigits(b, micros%1000, 2)
	b = appendDigits(b, binary.BigEndian.Uint64(random[:8]), 7)
	b = appendDigits(b, binary.BigEndian.Uint64(random[8:]), 7)
	return string(b)
}

// Time reads when an id was made, to the microsecond; false if s is no id of ours.
func Time(s string) (time.Time, bool) {
	i := strings.LastIndexByte(s, '_')
	digits := s[i+1:]
	if i < 0 || len(digits) != size {
		return time.Time{}, false
	}
	var v [2]uint64
	for j := range 12 {
		d := strings.IndexByte(alphabet, digits[j])
		if d < 0 {
			return time.Time{}, false
		}
		v[j/10] = v[j/10]<<5 | uint64(d)
	}
	if strings.Trim(digits[12:], alphabet) != "" || v[1] > 999 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(v[0]*1000 + v[1])), true
}

// appendDigits writes the low 5·n bits of v, most significant first.
func appendDigits(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, alphabet[v>>(5*i)&31])
	}
	return b
}
