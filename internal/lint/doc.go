// Package lint checks Belay's objects in files, without a cluster.
//
// Invariant: what the API server would refuse on creation, lint refuses at the same field path. It holds because lint
// runs the API server's own code over the same generated schemas: nulls are dropped, defaults filled in, unknown
// fields found, then schema, list types, metadata and CEL rules are checked in the API server's order and within its
// cost limits.
//
// What one object cannot tell is checked after that, over all files together: selectors against labels, Services and
// routes, analysis templates and their arguments, repositories. An object that is not in the files may be in the
// cluster, so its absence is at most a warning.
//
// Algorithm: read (bounded) → documents with their YAML nodes → schema → semantic rules → findings, each with the line
// of the nearest node to its field path, sorted by file and line.
package lint
