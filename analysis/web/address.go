package web

import (
	"syscall"

	"github.com/belay-delivery/belay/internal/netguard"
)

// AddressError says why an address is not asked.
type AddressError struct {
	Reason string
}

// Error implements error.
func (e *AddressError) Error() string { return e.Reason }

// control refuses a connection by the address that it is about to be made to.
func control(_, address string, _ syscall.RawConn) error {
	if err := netguard.Check(address); err != nil {
		return &AddressError{Reason: err.Error() + " (the manager's --allow-local-web-checks allows it)"}
	}
	return nil
}
