package lint

func init() {
	valid["DeliveryPolicy"] = `spec: {match: {environments: [prod]}, expression: "true", message: m, rationale: r}`
	valid["ClusterDeliveryPolicy"] = valid["DeliveryPolicy"]
}

// syncRows are rows of Sync, and of what a Sync is told by.
func syncRows() []row {
	const noKinds = "target Bundle is judged once for all objects: leave match.kinds out"
	return []row{
		{kind: "DeliveryPolicy", name: "kinds of a bundle", patch: `{spec: {target: Bundle, match: {kinds: [Rollout]}}}`, field: "spec", rule: noKinds},
		{kind: "DeliveryPolicy", name: "no rationale", patch: `{spec: {rationale: null}}`, field: "spec.rationale"},
		{kind: "DeliveryPolicy", name: "empty rationale", patch: `{spec: {rationale: ""}}`, field: "spec.rationale"},
		{kind: "DeliveryPolicy", name: "severity", patch: `{spec: {severity: Shout}}`, field: "spec.severity"},
		{kind: "DeliveryPolicy", name: "kind", patch: `{spec: {match: {kinds: [rollout]}}}`, field: "spec.match.kinds[0]"},
		{kind: "ClusterDeliveryPolicy", name: "kinds of a bundle", patch: `{spec: {target: Bundle, match: {kinds: [Rollout]}}}`, field: "spec", rule: noKinds},
		{kind: "ClusterDeliveryPolicy", name: "enforcement", patch: `{spec: {enforcement: Never}}`, field: "spec.enforcement"},
		{kind: "Sync", name: "environment", patch: `{spec: {environment: Prod}}`, field: "spec.environment"},
		{kind: "Sync", name: "policy kind", patch: `{spec: {policies: [{kind: Rollout, name: p}]}}`, field: "spec.policies[0].kind"},
		{kind: "Sync", name: "policy twice", patch: `{spec: {policies: [{name: p}, {name: p}]}}`, field: "spec.policies[1]"},
		{kind: "Sync", name: "references", patch: `{spec: {checks: {references: Maybe}}}`, field: "spec.checks.references"},
		{kind: "Sync", name: "quota", patch: `{spec: {checks: {quota: Maybe}}}`, field: "spec.checks.quota"},
		{kind: "Sync", name: "digests", patch: `{spec: {images: {requireDigest: Always}}}`, field: "spec.images.requireDigest"},
	}
}
