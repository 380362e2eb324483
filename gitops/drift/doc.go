// Package drift says how an object in the cluster differs from what Git declares, who made it so, and what is the safest
// thing to do about it. It is pure: what was read comes in as arguments.
//
// Who owns a field stands in metadata.managedFields. With server-side apply the API server moves the ownership of a field
// to whoever changes its value: our entry loses the field, the other manager's gains it, with operation and time. So a
// declared field that drifted is visible in our own entry alone (Mark), without its value and without a request. The
// shapes that this rests on are recorded and asserted on a real API server by controllers/sync's TestG04_ManagedFields.
//
// What differs is the difference of the live object and the API server's dry run of our apply (Compare), so defaults and
// admission count as the API server counts them. Lists are compared item by item where managedFields has keys for them,
// and as a whole otherwise: that is the schema, as far as it is needed.
//
// The class of a field (Classify) follows from its owner: not ours any more and a person's tool, ManualEdit; a controller,
// ControllerWrite; still ours and Git has changed, NewCommit; nobody wrote it since, AdmissionMutation or VersionSkew.
// A manager is the name that a client gives itself: it is evidence, not proof. A user is known only where the shipped
// admission policy stamps the object (StampOf), and is believed only for the field manager that the stamp names.
//
// Values of Secrets never leave this package: Shown replaces them by a keyed digest.
package drift
