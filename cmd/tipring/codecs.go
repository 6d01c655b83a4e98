package main

import (
	"strings"

	"github.com/tipring/tipring/engine/codec"
)

// audioCodec finds a row of the table by its name alone.
func audioCodec(name string) (codec.Codec, bool) {
	for _, c := range codec.Table() {
		if c.Audio() && strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return codec.Codec{}, false
}

// audioCodecs are the names that the setting codecs takes.
func audioCodecs() []string {
	var names []string
	for _, c := range codec.Table() {
		if c.Audio() {
			names = append(names, c.Name)
		}
	}
	return names
}

// codecs are those of the setting, in its order.
func (c *Config) codecs() []codec.Codec {
	var list []codec.Codec
	for _, name := range c.Codecs {
		if row, ok := audioCodec(name); ok {
			list = append(list, row)
		}
	}
	return list
}

func (c *Config) opus() codec.OpusOptions {
	return codec.OpusOptions{
		Complexity: c.OpusComplexity, Bitrate: c.OpusBitrate, DTX: c.OpusDTX, LossForFEC: c.OpusFECLoss,
	}
}
