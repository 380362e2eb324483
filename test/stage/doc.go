// Package stage sets the scene for the demo and for the end-to-end tests: a running testbed, Belay as a process with no more rights
// than config/ gives it, a Git repository with an application in it, constant traffic, and a record of what happened when.
//
// Everything but Build has to be called inside the testbed's network namespace (`testbed exec`). Nothing here decides about Belay:
// what is asserted is read from three places that do not know each other, the API server's objects (Timeline), the answers that
// clients got (Samples), and Git (Fleet, by the git command).
//
// Processes are entered into a Ledger before they are used, with their start time: whoever comes later ends exactly those.
package stage
