// Package gatewayapi splits the traffic of Gateway API routes between a stable
// and a canary Service. Every function is pure: it looks at one unstructured
// route (HTTPRoute, GRPCRoute, TLSRoute or TCPRoute) and answers what the route
// says now (Inspect), which JSON patch makes it say what is wanted (Patch),
// whether gateways have accepted it (Programmed), and how a new version from
// Git is combined with a split in progress (Merge).
//
// # Invariants
//
//   - Nothing but our references, the weights of the rules that refer to the
//     stable Service, and one annotation is ever touched. References keep their
//     order; unknown fields survive, since only leaves are patched.
//   - A rule's other backends keep their exact ratio to our pair: all weights are
//     scaled by one factor and only the stable part is divided. The canary's part
//     is rounded down when it cannot be exact, so its share never exceeds what was
//     asked for.
//   - We never make the weights of a rule sum to 0, and never take stable out.
//   - Patch is empty exactly when the route is as the Split wants it; applying it
//     reaches that state, and from there no further writes follow.
//
// # Algorithm
//
// A route is Git's (the original) with a split applied to it. The annotation
// belay.dev/split records, per Rollout and rule, the original weights and which
// split was applied last, so that both the original and our last write can be
// computed from it. Per rule, the live weights are compared with our last write:
// if they are equal, the record stands; if they differ, a user has edited the
// rule, and the live weights are the new original, read in the scale that the
// user saw. Records are matched to rules by name, then by matches and backends,
// never by position alone. A rule that has no record gets one from what it says.
//
// Where the user lists the canary Service in a rule, that reference is theirs:
// only its weight changes, and at the end it is 0 again.
package gatewayapi
