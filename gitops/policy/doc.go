// Package policy evaluates DeliveryPolicies over a bundle: CEL with the libraries that the API server's own policies have,
// so that a rule written for a ValidatingAdmissionPolicy can be carried over.
//
// Everything here is pure. Invariants:
//   - A rule that cannot be evaluated counts as broken, with the reason: never as kept.
//   - Evaluation is bounded: each call by the API server's limit for one expression, a whole round by Budget.
//   - The same bundle gives the same findings, in the same order.
package policy
