// Command demo shows the whole loop on real parts: `go run ./test/demo`, or `make demo`.
//
// A good version is committed to Git, stepped and promoted; a bad one is committed, caught at its first step, rolled back, and the
// way back is committed to Git. It tells what happens while it happens, ends with a summary, and writes DIR/report.json. The exit
// status is 0 only if every claim of the summary was found true.
//
// The program runs twice: outside (outside.go) it builds and starts the testbed and cleans up; inside the testbed's network
// namespace, which it enters by `testbed exec`, it runs the story (story.go). What it claims is computed in measure.go from the
// clients' answers, the API server's objects and Git; judge in report.go compares it with what is wanted.
package main
