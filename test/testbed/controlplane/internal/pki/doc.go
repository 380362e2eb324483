// Package pki makes the keys of a throw-away control plane.
//
// One certificate authority signs the API server's serving pair and one client pair per component; a second one signs the pair
// with which the API server's aggregation layer shows itself. Service-account tokens are signed with an RSA key of their own.
// Everything is written below one folder with mode 0600 and is worth nothing outside the machine's loopback.
package pki
