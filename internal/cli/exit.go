package cli

import (
	"errors"
	"fmt"
)

// Exit codes of the plugin.
const (
	// ExitOK: done; for status: healthy or on its way.
	ExitOK = 0
	// ExitError: the command did not do what it was asked to, or the Decision was refused.
	ExitError = 1
	// ExitDegraded: the Rollout is degraded, or the attempt that was watched failed.
	ExitDegraded = 2
	// ExitTimeout: the time for waiting is over, and it is not decided.
	ExitTimeout = 3
)

// exitError is an error with an exit code. Without err nothing more is said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func codeOf(err error) (code int, silent bool) {
	var exit *exitError
	switch {
	case err == nil:
		return ExitOK, true
	case errors.As(err, &exit):
		return exit.code, exit.err == nil
	}
	return ExitError, false
}
