// Package netns gives the testbed a network of its own.
//
// EndpointSlices refuse loopback addresses, so pods need real ones. Inside a private network namespace every address of
// 10.240.0.0/12 is made local (AnyIP: one route in the "local" table, no address, no bridge, no firewall), so that a process can
// listen on whatever address its pod was given and everything else in the namespace reaches it. The namespace has no way out: it
// knows its loopback device only. /etc/resolv.conf is an empty file there, for a resolver that cannot be reached costs seconds.
//
// Root makes the namespace directly; anybody else through a user namespace in which they are root. It vanishes with its last
// process: nothing is left on the machine.
//
// Several testbeds may share one namespace. Each claims a Slot, a /16 for its pods and a block of ports, by listening on the last
// address of that /16; the kernel gives the claim back whatever becomes of the process.
package netns
