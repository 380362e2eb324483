package prometheus

import (
	"fmt"
	"sync"
)

// maxPooled bounds how many servers and credentials are remembered.
const maxPooled = 256

// Pool makes Clients and keeps them, so that connections are used again. The zero value is ready; it is safe for use by
// several goroutines.
type Pool struct {
	mu      sync.Mutex
	clients map[Config]*Client
}

// Querier gives a Client for a Config, the same for the same Config.
func (p *Pool) Querier(cfg Config) (Querier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[cfg]; ok {
		return c, nil
	}
	c, err := New(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a Prometheus client: %w", err)
	}
	if p.clients == nil || len(p.clients) >= maxPooled {
		p.reset()
	}
	p.clients[cfg] = c
	return c, nil
}

// reset forgets all Clients. Queries under way go on; rotated credentials do not stay in memory for ever.
func (p *Pool) reset() {
	for _, c := range p.clients {
		c.Close()
	}
	p.clients = map[Config]*Client{}
}
