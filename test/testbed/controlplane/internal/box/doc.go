// Package box runs a whole Kubernetes control plane inside one process: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler, each with the ordinary flags of its own program.
//
// The components are upstream's, called through the functions that their commands call. Each gets a component registry of its own
// (a copy of the default feature gates), for a registry can be set only once; the commands themselves cannot be used together,
// because each would install the process's one signal handler. Feature gates and the metrics registry stay global, hence: one
// control plane per process.
//
// Start goes etcd, API server, then controller manager and scheduler; stop goes the other way round, each waited for, because the
// API server's shutdown hangs once its etcd is gone.
package box
