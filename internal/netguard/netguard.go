// Package netguard says which addresses the manager does not ask on behalf of somebody else: those that only it may reach.
package netguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// metadata are the addresses of clouds' metadata services that are not link-local: AWS over IPv6, Alibaba, Azure's host,
// Oracle.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192")}

// embedding are prefixes of IPv6 addresses that carry an IPv4 address, by the byte where it begins: NAT64 and 6to4.
var embedding = map[netip.Prefix]int{netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2}

// Refuse says what is wrong with an address, or nothing. Private addresses are fine: Services have them.
func Refuse(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLoopback():
		return "it is a loopback address"
	case addr.IsLinkLocalUnicast():
		return "it is a link-local address"
	case addr.IsMulticast():
		return "it is a multicast address"
	case addr.IsUnspecified() || addr.Is4() && addr.As4()[0] == 0:
		return "it is an unspecified address"
	case slices.Contains(metadata, addr):
		return "it is that of a cloud's metadata service"
	}
	for prefix, at := range embedding {
		if prefix.Contains(addr) {
			bytes := addr.As16()
			return Refuse(netip.AddrFrom4([4]byte(bytes[at : at+4])))
		}
	}
	return ""
}

// Check refuses an address of the form host:port, where host is an IP address: what is about to be dialled.
func Check(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("the address cannot be read")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return errors.New("the address cannot be read")
	}
	if why := Refuse(addr); why != "" {
		return fmt.Errorf("%s is not asked: %s", addr, why)
	}
	return nil
}
