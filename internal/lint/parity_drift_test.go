package lint

// driftRows are rows of a Sync's spec.drift.
func driftRows() []row {
	const at = "spec.drift.ignore[0]"
	return []row{
		{kind: "Sync", name: "drift mode", patch: `{spec: {drift: {mode: Maybe}}}`, field: "spec.drift.mode"},
		{kind: "Sync", name: "drift rule of nothing", patch: `{spec: {drift: {ignore: [{kind: Deployment}]}}}`, field: at, rule: "a rule needs paths or managers"},
		{kind: "Sync", name: "drift path", patch: `{spec: {drift: {ignore: [{paths: [spec/replicas]}]}}}`, field: at + ".paths", rule: "a path begins with a dot and names a field, for example .spec.replicas"},
		{kind: "Sync", name: "drift paths of nothing", patch: `{spec: {drift: {ignore: [{paths: []}]}}}`, field: at + ".paths"},
		{kind: "Sync", name: "drift of our own", patch: `{spec: {drift: {ignore: [{managers: [belay-sync]}]}}}`, field: at + ".managers", rule: "belay-sync is Belay's own name"},
		{kind: "Sync", name: "fight of one", patch: `{spec: {drift: {fight: {corrections: 1}}}}`, field: "spec.drift.fight.corrections"},
		{kind: "Sync", name: "fight within", patch: `{spec: {drift: {fight: {within: 1s}}}}`, field: "spec.drift.fight.within", rule: "within must be at least 10s"},
	}
}
