// Package revision names the content of a pod template.
//
// Invariant: two templates have the same revision exactly when a pod made from
// one is the pod made from the other, whichever version of the Kubernetes
// libraries decoded them and whether or not an API server has filled in its
// defaults.
//
// Algorithm: the template is turned into generic JSON; nulls, empty objects of
// struct-typed fields, fixed API defaults and Belay's own labels are taken out;
// the rest is written with sorted keys and hashed with SHA-256. Objects whose
// emptiness says something (emptyDir, a label selector) stay. The golden values
// in the tests may never change: they are stored in labels and in commits.
package revision
