package lint

import "strings"

func init() {
	valid["DeliveryPolicy"] = `spec: {match: {environments: [prod]}, expression: "true", message: m, rationale: r}`
	valid["Sync"] = strings.TrimSuffix(valid["Sync"], "}") +
		`, gates: {follows: {sync: b, soak: 1m, images: Any}, approvals: {required: 2}, windows: [{kind: Deny, firstDate: "2026-12-20", lastDate: "2027-01-02"}]}, dependsOn: [{name: c}], ` +
		`images: {signatures: {rules: [{images: ["ghcr.io/shop/**", "r.example.com:5000/*"], keys: {name: k}, signedAs: ["ghcr.io/up/web"]}, {images: ["**"], unsigned: Allowed}], pullSecrets: [{name: p}]}}}`
	valid["ClusterDeliveryPolicy"] = valid["DeliveryPolicy"]
}

// syncRows are rows of Sync, and of what a Sync is told by.
func syncRows() []row {
	const noKinds = "target Bundle is judged once for all objects: leave match.kinds out"
	plan := strings.Repeat("0", 64)
	return []row{
		{kind: "Decision", name: "about a Sync without a plan", patch: `{spec: {subject: {kind: Sync}}}`, field: "spec", rule: "a Decision about a Sync has action Approve, Reject, Pause, Resume or Undo"},
		{kind: "Decision", name: "a Sync is not promoted", patch: `{spec: {subject: {kind: Sync}, plan: "` + plan + `"}}`, field: "spec", rule: "a Decision about a Sync has action Approve, Reject, Pause, Resume or Undo"},
		{kind: "Decision", name: "approval without a plan", patch: `{spec: {subject: {kind: Sync}, action: Approve}}`, field: "spec", rule: "actions Approve and Reject of a Sync need plan, the digest of status.plan; every other action has none"},
		{kind: "Decision", name: "undo of a plan", patch: `{spec: {subject: {kind: Sync}, action: Undo, bundle: "` + plan + `", plan: "` + plan + `"}}`, field: "spec", rule: "actions Approve and Reject of a Sync need plan, the digest of status.plan; every other action has none"},
		{kind: "Decision", name: "undo of nothing", patch: `{spec: {subject: {kind: Sync}, action: Undo}}`, field: "spec", rule: "actions Pause and Undo of a Sync need bundle, status.appliedDigest; every other action has none"},
		{kind: "Decision", name: "resume of a bundle", patch: `{spec: {subject: {kind: Sync}, action: Resume, bundle: "` + plan + `"}}`, field: "spec", rule: "actions Pause and Undo of a Sync need bundle, status.appliedDigest; every other action has none"},
		{kind: "Decision", name: "pause somewhere else", patch: `{spec: {subject: {kind: Sync}, action: Pause, bundle: "` + plan + `", to: "` + plan + `"}}`, field: "spec", rule: "to goes with action Undo of a Sync"},
		{kind: "Decision", name: "bundle of a Rollout", patch: `{spec: {bundle: "` + plan + `"}}`, field: "spec", rule: "bundle goes with a subject of kind Sync"},
		{kind: "Decision", name: "bundle", patch: `{spec: {bundle: x}}`, field: "spec.bundle"},
		{kind: "Decision", name: "plan of a Rollout", patch: `{spec: {plan: "` + plan + `"}}`, field: "spec", rule: "plan goes with a subject of kind Sync"},
		{kind: "Decision", name: "plan", patch: `{spec: {plan: x}}`, field: "spec.plan"},
		{kind: "Sync", name: "window backwards", patch: `{spec: {gates: {windows: [{kind: Deny, firstDate: "2026-02-01", lastDate: "2026-01-01"}]}}}`, field: "spec.gates.windows[0]", rule: "firstDate must not be after lastDate"},
		{kind: "Sync", name: "window kind", patch: `{spec: {gates: {windows: [{kind: Maybe}]}}}`, field: "spec.gates.windows[0].kind"},
		{kind: "Sync", name: "window day", patch: `{spec: {gates: {windows: [{kind: Deny, days: [Monday]}]}}}`, field: "spec.gates.windows[0].days[0]"},
		{kind: "Sync", name: "window time", patch: `{spec: {gates: {windows: [{kind: Deny, from: "9:00"}]}}}`, field: "spec.gates.windows[0].from"},
		{kind: "Sync", name: "six people", patch: `{spec: {gates: {approvals: {required: 6}}}}`, field: "spec.gates.approvals.required"},
		{kind: "Sync", name: "risk", patch: `{spec: {gates: {approvals: {whenRisk: Some}}}}`, field: "spec.gates.approvals.whenRisk"},
		{kind: "Sync", name: "follows nobody", patch: `{spec: {gates: {follows: {sync: ""}}}}`, field: "spec.gates.follows.sync"},
		{kind: "Sync", name: "images of what is followed", patch: `{spec: {gates: {follows: {images: Some}}}}`, field: "spec.gates.follows.images"},
		{kind: "Sync", name: "depends twice", patch: `{spec: {dependsOn: [{name: a}, {name: a}]}}`, field: "spec.dependsOn[1]"},
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
		{kind: "Sync", name: "other tools", patch: `{spec: {checks: {otherTools: Maybe}}}`, field: "spec.checks.otherTools"},
		{kind: "Sync", name: "signatures of nothing", patch: `{spec: {images: {signatures: {rules: []}}}}`, field: "spec.images.signatures.rules"},
		{kind: "Sync", name: "signatures mode", patch: `{spec: {images: {signatures: {mode: Always}}}}`, field: "spec.images.signatures.mode"},
		{kind: "Sync", name: "neither keys nor unsigned", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a"]}]}}}}`, field: "spec.images.signatures.rules[0]", rule: "give either keys, or unsigned: Allowed"},
		{kind: "Sync", name: "keys and unsigned", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a"], keys: {name: k}, unsigned: Allowed}]}}}}`, field: "spec.images.signatures.rules[0]", rule: "give either keys, or unsigned: Allowed"},
		{kind: "Sync", name: "signedAs without keys", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a"], signedAs: ["ghcr.io/b"], unsigned: Allowed}]}}}}`, field: "spec.images.signatures.rules[0]", rule: "signedAs goes with keys"},
		{kind: "Sync", name: "unsigned", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a"], unsigned: Denied}]}}}}`, field: "spec.images.signatures.rules[0].unsigned"},
		{kind: "Sync", name: "image without registry", patch: `{spec: {images: {signatures: {rules: [{images: ["nginx"], keys: {name: k}}]}}}}`, field: "spec.images.signatures.rules[0].images[0]"},
		{kind: "Sync", name: "image of the hub without its name", patch: `{spec: {images: {signatures: {rules: [{images: ["library/nginx"], keys: {name: k}}]}}}}`, field: "spec.images.signatures.rules[0].images[0]"},
		{kind: "Sync", name: "image with a digest", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a@sha256:1"], keys: {name: k}}]}}}}`, field: "spec.images.signatures.rules[0].images[0]"},
		{kind: "Sync", name: "signedAs without registry", patch: `{spec: {images: {signatures: {rules: [{images: ["ghcr.io/a"], signedAs: [web], keys: {name: k}}]}}}}`, field: "spec.images.signatures.rules[0].signedAs[0]"},
		{kind: "Sync", name: "pull secret twice", patch: `{spec: {images: {signatures: {pullSecrets: [{name: p}, {name: p}]}}}}`, field: "spec.images.signatures.pullSecrets[1]"},
		{kind: "Sync", name: "adoption", patch: `{spec: {adoption: Steal}}`, field: "spec.adoption"},
		{kind: "Sync", name: "digests", patch: `{spec: {images: {requireDigest: Always}}}`, field: "spec.images.requireDigest"},
	}
}
