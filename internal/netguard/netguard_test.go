package netguard

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRefuse(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1": "", "192.168.1.1": "", "1.1.1.1": "", "2606:4700::1111": "", "fd00::1": "", "64:ff9b::1.1.1.1": "",
		"127.0.0.1": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "169.254.169.254": "link-local", "fe80::1%eth0": "link-local",
		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified", "224.0.0.1": "multicast", "ff02::1": "multicast",
		"fd00:ec2::254": "metadata", "100.100.100.200": "metadata", "168.63.129.16": "metadata",
		"64:ff9b::169.254.169.254": "link-local", "2002:7f00:1::": "loopback",
	} {
		got := Refuse(netip.MustParseAddr(address))
		if want == "" && got != "" || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:443": "", "[::1]:443": "loopback", "127.0.0.1:5000": "127.0.0.1 is not asked", "registry:443": "cannot be read", "10.0.0.1": "cannot be read",
	} {
		err := Check(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
