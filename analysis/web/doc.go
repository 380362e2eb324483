// Package web asks HTTP servers for web metrics.
//
// Whom to ask comes from whoever may write a template, so a request must not reach what only the manager can: the address
// that is dialled, after names were resolved, is checked on every connection (a name that resolves to something else the
// second time gains nothing), no proxy of the manager's is used, and a redirect is followed within its origin only. Loopback,
// link-local, multicast and unspecified addresses and the metadata services of clouds are refused.
//
// Answers are bounded in size and time. Nothing of an answer, and nothing secret, is in an error.
package web
