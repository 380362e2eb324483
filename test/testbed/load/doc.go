// Package load sends requests at a constant rate and tells what became of them, per version of the application that answered.
//
// The rate is open-loop: the n-th request is due n/rate seconds after the start, whatever became of those before it, so that a slow
// server is not spared. Requests that fall due while all workers are busy wait for one, and their waiting counts as their duration.
// A request is failed if its answer is not 2xx or if there is none; one without an answer counts for the version "".
package load
