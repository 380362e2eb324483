package gatewayapi

import "slices"

func (p *plan) view() View {
	v := View{Managed: len(p.rules), PreListed: p.listed, Traces: p.traces, Matched: len(p.copies) > 0, CopyMissing: p.missing}
	v.CopyExtra = slices.ContainsFunc(p.ruleEdits, func(e ruleEdit) bool { return e.content == nil })
	v.Injected, v.StablePresent = v.Managed > 0, v.Managed > 0
	total := p.split.Total
	if total < 1 {
		total = 100
	}
	v.MinCanary = total
	for _, r := range p.rules {
		v.Injected = v.Injected && len(r.canary) > 0
		v.StablePresent = v.StablePresent && len(r.stable) > 0
		v.addShare(r, int64(total))
		v.addPorts(r)
	}
	v.MinCanary = min(v.MinCanary, v.MaxCanary)
	slices.Sort(v.Ports)
	v.Ports = slices.Compact(v.Ports)
	return v
}

// addShare counts the canary's part of the pair, unless the pair has no weight.
func (v *View) addShare(r rule, total int64) {
	canary := sum(liveWeights(r.canary))
	pair := canary + sum(liveWeights(r.stable))
	if pair <= 0 || canary < 0 || total < 1 {
		return
	}
	v.MinCanary = min(v.MinCanary, int32(canary*total/pair))
	v.MaxCanary = max(v.MaxCanary, int32((canary*total+pair-1)/pair))
}

func (v *View) addPorts(r rule) {
	for _, ref := range r.stable {
		if port, ok := integer(ref.raw["port"]); ok && port > 0 && port <= 65535 {
			v.Ports = append(v.Ports, int32(port))
		}
	}
}
