// Package traffic holds the arithmetic that ties a share of the traffic to the
// capacity that must stand behind it. It is pure: no clock, no client, no
// state. What a route says, and how it is changed, is in traffic/gatewayapi.
//
// Invariant: as long as a canary is exposed with weight w of total, it is given
// at least w/total of the pods that the whole traffic needs (rounded up, never
// none), and it counts as lost when fewer than three quarters of that share are
// ready. Both functions are total: no argument makes them panic or overflow.
package traffic
