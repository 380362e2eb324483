// Package cli holds the commands of `kubectl belay`.
//
// Invariant: data goes to standard output, everything else to standard error; a command that changes something writes
// one Decision and nothing else; the exit code says what came of it (see Exit codes in root.go). Commands read with a
// plain client, no cache, and what could not be read is shown as such.
package cli
