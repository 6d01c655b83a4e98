package harness

import (
	"math/rand/v2"
	"net"
	"testing"
)

// FreeUDP is an even port of 127.0.0.1 that is free now, with the three behind it. It lies below the ports that the system
// hands out by itself, so that nobody gets it by chance before the tool has taken it.
func FreeUDP(tb testing.TB) int {
	tb.Helper()
	for range 200 {
		port, free := 20_000+2*rand.IntN(6_000), true
		for i := 0; i < 4 && free; i++ {
			n, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + i})
			if free = err == nil; free {
				n.Close()
			}
		}
		if free {
			return port
		}
	}
	tb.Fatal("no free ports")
	return 0
}
