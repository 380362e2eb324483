// Package integration proves the Rollout controller's shell on a real API server.
//
// The ReplicaSet, EndpointSlice and garbage controllers are the real ones; the tests play the kubelet, the gateway, the
// analysis and the people. Reconcile is called directly, with an uncached client and a fake clock, so that every test
// knows exactly what was written, and when. Before every call the world is brought to rest (settle), so that the order
// of effects is the same in every run; golden lists in testdata hold it (go test -update writes them anew).
//
// After every write of the controller the invariants of the design are checked against what the API server then has.
// TestCrashAtEveryWrite cuts the controller off at each of its writes, in three ways, and asks for the same end.
// One test runs a manager with real caches and the real clock, and counts requests at the transport.
package integration
