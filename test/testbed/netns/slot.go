package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

const (
	slots     = 16
	firstPort = 20000 // below the kernel's range for outgoing connections (32768 and up)
	slotPorts = 200
)

// Slot is one testbed's share of the namespace: a /16 for its pods and a block of ports, held until Close.
type Slot struct {
	Pods netip.Prefix

	next, end int
	claim     net.Listener
}

// Claim takes a free slot of the current namespace. It fails if all are taken, or if this is no namespace of ours.
func Claim() (*Slot, error) {
	for i := range slots {
		base := netip.AddrFrom4([4]byte{10, byte(240 + (i+4)%slots), 0, 0}) // 10.244.0.0/16, the usual one, comes first
		l, err := net.Listen("tcp4", lastOf(base))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("claiming addresses (not inside a testbed namespace?): %w", err)
		}
		port := firstPort + i*slotPorts
		return &Slot{Pods: netip.PrefixFrom(base, 16), next: port, end: port + slotPorts, claim: l}, nil
	}
	return nil, fmt.Errorf("all %d slots of this network namespace are taken", slots)
}

func lastOf(base netip.Addr) string {
	b := base.As4()
	return net.JoinHostPort(netip.AddrFrom4([4]byte{b[0], b[1], 255, 254}).String(), "1")
}

// Ports returns the first of n free ports in a row on 127.0.0.1 that this slot has not given out yet.
func (s *Slot) Ports(n int) (int, error) {
	for s.next+n <= s.end {
		first := s.next
		taken := firstTaken(first, n)
		if taken < 0 {
			s.next = first + n
			return first, nil
		}
		s.next = taken + 1
	}
	return 0, fmt.Errorf("no %d free ports left below %d", n, s.end)
}

func firstTaken(first, n int) int {
	for p := first; p < first+n; p++ {
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			return p
		}
		l.Close()
	}
	return -1
}

// Close gives the slot back.
func (s *Slot) Close() error { return s.claim.Close() }
