// Package testbed starts everything that Belay works with as plain processes of this machine: a Kubernetes control plane, a node that
// runs pods as processes, a Gateway API gateway that carries traffic, Prometheus, and a Git server.
//
// A testbed lives in a folder, below which it keeps its data, its logs and its records; its addresses and ports are its own, in a
// network namespace (package netns) that its clients have to be in. Up starts the parts in the order of their needs and returns
// when all of them work together; testbed.json then says where each of them is. Down stops them in the reverse order.
//
// Every process is recorded with its id and the time of its start, before anything else is done with it. A testbed that died leaves
// processes only if the kernel's death signal did not reach them; the next Up or Down on the folder ends exactly those whose id and
// start time both match the record.
package testbed
