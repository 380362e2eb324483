// Package faults runs the Rollout's reconciler, as it is, against an API server in memory, and breaks what is between them.
//
// A scenario is a story with an end, such as a promotion or a deletion in the middle of an attempt. It is run once
// undisturbed, which tells its writes and its end, and then again and again:
//
//   - cut off at each of its writes, in three ways: the write is not sent; it is sent and its answer is lost; it is sent and
//     the process dies, so that another one without memory goes on;
//   - with an error of each code for each verb and kind that it writes, for a while;
//   - with reads that are one to three writes old, and with reconciliations that do not come;
//   - with real HTTP requests all the while, over a data plane in this process (plane_test.go) that is late in what it knows,
//     serves weight 0, or answers 500 for a whole rule because of one bad reference: no request may fail but by the bad
//     revision itself, undisturbed and with the process killed after every third write.
//
// Each time the end must be the same, but for times and names that are made up, and after each write the invariants T1 to T7
// of the design must hold of what is stored; at the end, T9 and L1: nothing of Belay's is left in the routes, and another
// look writes nothing. A failure names what replays it alone: BELAY_FAULT=<name> go test ./test/faults.
//
// known_test.go plays faults that other tools had in production, each under its number there. Two more layers are elsewhere:
// test/simulation runs the planner alone over millions of steps, and test/integration the real API server behind a transport
// that breaks watches and connections.
package faults
