package codec_test

import "math/rand/v2"

// lossy tells for each of n payloads whether it gets lost, at random.
func lossy(n int, share float64) []bool {
	random := rand.New(rand.NewPCG(7, 11))
	lost := make([]bool, n)
	for i := range lost {
		lost[i] = i > 5 && random.Float64() < share
	}
	return lost
}
