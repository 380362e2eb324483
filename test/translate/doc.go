// Package translate asks a second implementation of the Gateway API what the routes mean that Belay writes: Envoy Gateway's
// translator, egctl, which needs no cluster. What its configuration of Envoy does with each request is compared with what
// Belay meant. `make test-translate` builds egctl (about ten minutes the first time) and runs it; without egctl the test is
// skipped, and says so.
package translate
