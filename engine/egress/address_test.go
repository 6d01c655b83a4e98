package egress_test

import (
	"net/netip"
	"testing"

	"github.com/tipring/tipring/engine/egress"
)

func TestPublic(t *testing.T) {
	public := []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8",
		"64:ff9b::808:808",
	}
	private := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.0.1", "198.18.0.1",
		"198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "fe80::1%eth0",
		"fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "3fff::1", "fd00:ec2::254",
	}
	for _, s := range public {
		if !egress.Public(netip.MustParseAddr(s)) {
			t.Errorf("%s is refused, but public", s)
		}
	}
	for _, s := range private {
		if egress.Public(netip.MustParseAddr(s)) {
			t.Errorf("%s is admitted, but not public", s)
		}
	}
	if egress.Public(netip.Addr{}) {
		t.Error("the zero address is admitted")
	}
}

func TestAdmits(t *testing.T) {
	c := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}})
	for s, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "fc00::1": false, "8.8.8.8": true,
	} {
		if got := c.Admits(netip.MustParseAddr(s)); got != want {
			t.Errorf("Admits(%s) = %v", s, got)
		}
	}
	if !egress.New(egress.Options{AllowPrivate: true}).Admits(netip.MustParseAddr("127.0.0.1")) {
		t.Error("AllowPrivate does not admit loopback")
	}
}

func TestCheck(t *testing.T) {
	c := egress.New(egress.Options{})
	for url, want := range map[string]egress.Kind{
		"https://example.com/x":         "",
		"http://93.184.215.14:8080/":    "",
		"http://[2606:4700::1111]/":     "",
		"ftp://example.com/":            egress.KindURL,
		"file:///etc/passwd":            egress.KindURL,
		"https://":                      egress.KindURL,
		"//example.com":                 egress.KindURL,
		"http://exa mple/":              egress.KindURL,
		"":                              egress.KindURL,
		"http://127.0.0.1/":             egress.KindPrivateAddress,
		"http://[::1]:80/":              egress.KindPrivateAddress,
		"http://[::ffff:7f00:1]/":       egress.KindPrivateAddress,
		"http://169.254.169.254/latest": egress.KindPrivateAddress,
		"http://localhost:3000/":        egress.KindPrivateAddress,
		"http://a.LOCALHOST./":          egress.KindPrivateAddress,
	} {
		if got := egress.KindOf(c.Check(url, "http", "https")); got != want {
			t.Errorf("Check(%q) = %q, want %q", url, got, want)
		}
	}
	if err := egress.New(egress.Options{AllowPrivate: true}).Check("http://localhost:3000/hook", "http", "https"); err != nil {
		t.Errorf("AllowPrivate refuses localhost: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://[::]/", "https://u:p@h/", "ws://x"} {
		f.Add(s)
	}
	c := egress.New(egress.Options{})
	f.Fuzz(func(t *testing.T, rawURL string) {
		err := c.Check(rawURL, "http", "https")
		if err != nil && egress.KindOf(err) == egress.KindNetwork {
			t.Errorf("%q gives an untyped error: %v", rawURL, err)
		}
	})
}
