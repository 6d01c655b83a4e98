package main

import "testing"

func TestTidyWhenQuiet(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name                           string
		before, last                   uint64 // allocated: at the last look, at the last collection
		allocated, objects, live, free uint64
		want                           bool
	}{
		{"calls come in", 100 * mib, 0, 150 * mib, 90 * mib, 20 * mib, 0, false},
		{"a burst is over", 150 * mib, 0, 151 * mib, 90 * mib, 20 * mib, 0, true},
		{"collected, but not given back", 150 * mib, 0, 151 * mib, 20 * mib, 20 * mib, 60 * mib, true},
		{"nothing to win", 150 * mib, 0, 151 * mib, 22 * mib, 20 * mib, 2 * mib, false},
		{"nothing new", 150 * mib, 145 * mib, 151 * mib, 90 * mib, 20 * mib, 0, false},
		{"live grew since the collection", 150 * mib, 0, 151 * mib, 20 * mib, 30 * mib, 0, false},
	} {
		ti := tidier{allocated: tt.before, tidied: tt.last}
		if got := ti.due(tt.allocated, tt.objects, tt.live, tt.free); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	newTidier().look() // the names of the metrics are known to this Go, or it panics
}
