package node

import (
	"errors"
	"net/netip"
	"sync"
)

// pool hands out the addresses of a prefix: first those never used, then the one that has been free for longest.
type pool struct {
	mu    sync.Mutex
	in    netip.Prefix
	next  netip.Addr
	freed []netip.Addr
}

// newPool leaves out the first two addresses of the prefix, by custom the network's and the node's, and the last two.
func newPool(in netip.Prefix) *pool {
	return &pool{in: in, next: in.Masked().Addr().Next().Next()}
}

func (p *pool) take() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.next; p.in.Contains(a.Next().Next()) {
		p.next = a.Next()
		return a, nil
	}
	if len(p.freed) == 0 {
		return netip.Addr{}, errors.New("no free pod address")
	}
	a := p.freed[0]
	p.freed = p.freed[1:]
	return a, nil
}

func (p *pool) release(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freed = append(p.freed, a)
}
