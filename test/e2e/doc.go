// Package e2e holds the end-to-end tests: Belay as a process with the rights of config/rbac, on a real API server, gateway,
// Prometheus and Git server, while constant traffic goes through the gateway.
//
// They need a running testbed (BELAY_E2E_TESTBED is its folder) and have to run inside its network; BELAY_E2E_WORK is a folder for
// logs and samples (default: build/e2e). `make test-e2e` does all of that. Without BELAY_E2E_TESTBED they are skipped, or fail
// where BELAY_TEST_REQUIRE is set.
//
// All tests share one Belay. Each has a namespace of its own; they run side by side, except for those that crash Belay.
package e2e
