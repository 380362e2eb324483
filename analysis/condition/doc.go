// Package condition evaluates the CEL expressions of metrics: what reads a value out of an answer, and what says whether a
// value or an answer is good.
//
// Invariants:
//   - An expression is compiled and type-checked before anything is measured with it. Its errors are about the expression.
//   - Evaluation is bounded: an expression may cost at most maxCost, and ends with its context. It sees what it is given and
//     nothing else, and changes nothing.
//   - An expression that cannot be evaluated, for want of a field or because of a wrong type, is an error: it is neither true
//     nor false.
package condition
