// Command demo shows the whole loop on real parts: `go run ./test/demo`, or `make demo`.
//
// A good version is committed to Git, stepped and promoted; a bad one is committed, caught at its first step, rolled back, and the
// way back is committed to Git. It tells what happens while it happens, ends with a summary, and writes DIR/report.json. The exit
// status is 0 only if every claim of the summary was found true.
//
// With --scenario environments (make demo SCENARIO=environments) it shows staging and prod from one repository instead: prod follows
// staging after a soak and the approval of somebody who did not write it; what staging's canary catches never comes to prod; what
// fails in prod alone is reverted for prod alone; and the audit stream alone tells all of it.
//
// The program runs twice: outside (outside.go) it builds and starts the testbed and cleans up; inside the testbed's network
// namespace, which it enters by `testbed exec`, it runs the story (story.go, environments.go). What it claims is computed in measure.go and
// envmeasure.go from the clients' answers, the API server's objects, Git and the audit; the claims in report.go and envreport.go
// compare it with what is wanted.
package main
