package view

import (
	"fmt"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// node is a line of the tree.
type node struct {
	cells    []Cell
	children []node
}

// tree shows revisions with their ReplicaSets and pods, and the analysis with its metrics.
func (r *renderer) tree() string {
	var roots []node
	for _, rev := range r.Revisions {
		roots = append(roots, r.revisionNode(rev))
	}
	for _, run := range r.Runs {
		roots = append(roots, runNode(run))
	}
	if len(roots) == 0 {
		return ""
	}
	rows := [][]Cell{{{"NAME", Faint}, {"KIND", Faint}, {"STATE", Faint}, {"AGE", Faint}, {"INFO", Faint}}}
	rows = append(rows, []Cell{{r.Name, Strong}, {"Rollout", Plain}, {string(r.Health), ToneOf(r.Health)}, {Age(r.Created, r.now), Plain}, {}})
	return "\n" + r.style.Table(flatten(rows, roots, ""))
}

func flatten(rows [][]Cell, nodes []node, prefix string) [][]Cell {
	for i, n := range nodes {
		branch, below := "├─ ", "│  "
		if i == len(nodes)-1 {
			branch, below = "└─ ", "   "
		}
		cells := append([]Cell{{prefix + branch + n.cells[0].Text, n.cells[0].Tone}}, n.cells[1:]...)
		rows = flatten(append(rows, cells), n.children, prefix+below)
	}
	return rows
}

func (r *renderer) revisionNode(rev Revision) node {
	role := string(rev.Role)
	if role == "" {
		role = "old"
	}
	state := Cell{fmt.Sprintf("%d/%d ready", rev.Ready, rev.Desired), Good}
	switch {
	case rev.Desired == 0:
		state = Cell{"scaled down", Faint}
	case rev.Ready < rev.Desired:
		state.Tone = Warn
	}
	set := node{cells: []Cell{{rev.ReplicaSet, Plain}, {"ReplicaSet", Plain}, state, {Age(rev.Created, r.now), Plain}, {}}}
	for _, p := range rev.Pods {
		set.children = append(set.children, r.podNode(p))
	}
	return node{cells: []Cell{{rev.Revision, Strong}, {"Revision", Plain}, {role, Plain}, {}, {}}, children: []node{set}}
}

func (r *renderer) podNode(p Pod) node {
	state := Cell{p.State, Warn}
	switch {
	case p.Ready:
		state = Cell{"Ready", Good}
		if p.State == "Terminating" {
			state = Cell{p.State, Faint}
		}
	case p.Reason != "":
		state = Cell{Clean(p.Reason), Bad}
	case p.State == "Running":
		state.Text = "Not ready"
	}
	info := ""
	if p.Restarts > 0 {
		info = fmt.Sprintf("restarts: %d", p.Restarts)
	}
	return node{cells: []Cell{{p.Name, Plain}, {"Pod", Plain}, state, {Age(p.Created, r.now), Plain}, {info, Warn}}}
}

func runNode(run Run) node {
	n := node{cells: []Cell{{run.Name, Plain}, {"AnalysisRun", Plain}, verdictCell(run.Verdict), {}, {Clean(run.Message), Plain}}}
	for _, m := range run.Metrics {
		info := ""
		if m.Last != "" {
			info = "last " + Clean(m.Last) + ", "
		}
		if m.Bounds != "" {
			info += "wanted " + m.Bounds + ", "
		}
		info += fmt.Sprintf("%d/%d passed", m.Passed, m.Measured)
		if m.Mode == v1alpha1.MetricDryRun {
			info += ", dry run"
		}
		if m.Message != "" && m.Verdict != v1alpha1.VerdictPass {
			info += ": " + Clean(m.Message)
		}
		n.children = append(n.children, node{cells: []Cell{{m.Name, Plain}, {"Metric", Plain}, verdictCell(m.Verdict), {}, {info, Plain}}})
	}
	return n
}

func verdictCell(v v1alpha1.RunVerdict) Cell {
	switch v {
	case v1alpha1.VerdictPass:
		return Cell{string(v), Good}
	case v1alpha1.VerdictFail:
		return Cell{string(v), Bad}
	}
	return Cell{string(v), Warn}
}
