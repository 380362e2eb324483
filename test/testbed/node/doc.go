// Package node is a small Kubernetes node: it registers itself, renews its Lease, and runs every pod that the scheduler binds to it
// as local processes, one address per pod, reporting what a kubelet reports: container states, readiness, restarts with back-off,
// images that are not there, graceful termination.
//
// An image is a folder IMAGES/<image, with / and : as _> or, for any tag, IMAGES/<image without its tag>, that holds a program
// "entrypoint". A process finds its pod's address in POD_IP and has to listen on it, for all pods share one network namespace.
//
// Per pod there is one goroutine for each container and one that writes status; they end with the pod. A pod's address is free again
// once its last process has ended and its object is gone, and is given out again as late as possible.
//
// What containers use is measured from their processes, and served as the API metrics.k8s.io to the API server alone, which passes
// on what it is asked (files metrics*.go, usage.go).
//
// Not there: init containers (refused), volumes (ignored), logs and exec through the API server.
package node
