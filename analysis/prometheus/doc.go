// Package prometheus asks a Prometheus server, or whatever speaks its HTTP API v1, for one number.
//
// A Client asks instant queries. An answer is one number, or it is an error: ErrNoData for an empty one, *ResultError
// for anything but a scalar or exactly one series, *QueryError for a query that the server refuses, and a plain error
// for a server that cannot be reached, refuses, answers in part (with warnings), or is no Prometheus.
//
// Questions that are the same are asked once: they are shared while they are under way and for ten seconds after, by those that
// have the same server and the same credentials. Times are those of our clock; where the server's differs, by its Date header, by
// more than two seconds, questions and samples are moved by the difference, and by more than two minutes nothing is taken.
//
// Invariants:
//   - One query takes at most its timeout and reads at most 1 MiB of the answer (32 MiB of raw samples), whatever the server does.
//   - Credentials go to the configured address alone: redirects are not followed.
//   - No error holds a credential, and none repeats what a server said unless it said it as Prometheus does; an address
//     is thus no means to read what else the manager's network holds.
package prometheus
