// Package planner decides what a Rollout does next. Plan is pure and total: it takes everything that was observed,
// the time included, and gives the next status, the actions to carry out, and when to look again.
//
// A plan is made in three parts, in this order:
//
//  1. Advance: decisions of people, then the attempt's state machine, change the status (advance.go, gates.go).
//  2. World: the status alone says how roles, replicas, Services and routes should be; what differs from what was
//     observed becomes actions, the safest first (world.go, traffic.go).
//  3. Report: conditions, phase and the one sentence that says what the Rollout waits for (report.go).
//
// The stages of an attempt:
//
//	Stepping → Switching → Retiring → Returning → Baking → (over: Promoted)
//	    └──────────┴──────────┴───────────┴──────────┴──→ Withdrawing → (over: RolledBack, Aborted, Superseded)
//
// Initial stands in for all of them when there is no stable revision yet.
//
// What makes it crash-safe: a change of stage, step, weight or verdict is stored before it is acted on (Plan.Store), and
// all actions are derived from the stored status and from what is there. So a plan that was cut short anywhere is simply
// made again. A verdict is never taken back, and while one is stored no weight above 0 is ever planned (T7).
package planner
