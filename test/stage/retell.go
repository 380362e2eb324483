package stage

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/internal/audit"
)

// Audit is an audit stream: what Belay wrote, and nothing else.
type Audit []audit.Event

// ReadAudit reads the stream of the Belay that was started here.
func (b *Bed) ReadAudit() (Audit, error) {
	f, err := os.Open(b.AuditFile())
	if err != nil {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	defer f.Close()
	var out Audit
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		var e audit.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("reading line %d of the audit: %w", len(out)+1, err)
		}
		out = append(out, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	return out, nil
}

// Place is where an application is delivered.
type Place struct {
	Rollout, Sync, Repository client.ObjectKey // Repository of the Sync
}

// Retold is what the audit tells of one attempt: how it came to be, how it went, and what followed.
type Retold struct {
	Attempt  string   `json:"attempt"`
	Revision string   `json:"revision"`
	Commit   string   `json:"commit"`
	Approved []string `json:"approvedBy,omitempty"`
	Refused  []string `json:"refused,omitempty"` // whose Decisions about the same plan were
	Steps    []string `json:"steps,omitempty"`   // that it entered
	Verdict  string   `json:"verdict,omitempty"` // the reason of it
	Run      string   `json:"analysisRun,omitempty"`
	Halted   bool     `json:"halted"` // the traffic was taken back
	Outcome  string   `json:"outcome"`
	Revert   string   `json:"revert,omitempty"`   // the commit
	Reverted string   `json:"reverted,omitempty"` // the commit that it takes back
	Restored string   `json:"restored,omitempty"` // the commit that it goes back to
}

// Retell reconstructs the attempts of a Rollout, the oldest first. What the stream leaves open is an error: a commit that was
// never fetched or applied, an approval that nobody gave, an end without a begin, a fall without a verdict or a halt, a revert
// that nobody asked for or that never arrived.
func (a Audit) Retell(p Place) ([]Retold, error) {
	var out []Retold
	for _, e := range a.of(audit.KindAttempt, p.Rollout) {
		i := slices.IndexFunc(out, func(r Retold) bool { return r.Attempt == e.Object })
		if i < 0 {
			i, out = len(out), append(out, Retold{Attempt: e.Object, Revision: e.Digest})
		}
		out[i].Commit = cmp.Or(e.Commit, out[i].Commit) // it may become known after the begin
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the audit tells of no attempt of Rollout %s", p.Rollout)
	}
	for i := range out {
		for _, tell := range []func(Place, *Retold) error{a.tellAttempt, a.tellDelivery, a.tellRevert} {
			if err := tell(p, &out[i]); err != nil {
				return nil, fmt.Errorf("%s of Rollout %s: %w", out[i].Attempt, p.Rollout, err)
			}
		}
	}
	return out, nil
}

// of are the events of a kind of an object.
func (a Audit) of(kind string, subject client.ObjectKey) Audit {
	return a.where(func(e audit.Event) bool {
		return e.Kind == kind && e.Subject.Namespace == subject.Namespace && e.Subject.Name == subject.Name
	})
}

func (a Audit) where(is func(audit.Event) bool) Audit {
	return slices.DeleteFunc(slices.Clone(a), func(e audit.Event) bool { return !is(e) })
}

func (a Audit) first(is func(audit.Event) bool) (audit.Event, bool) {
	i := slices.IndexFunc(a, is)
	if i < 0 {
		return audit.Event{}, false
	}
	return a[i], true
}

func outcome(want string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Outcome == want }
}

func links(e audit.Event, rel string) []string {
	var out []string
	for _, l := range e.Links {
		if l.Rel == rel {
			out = append(out, l.Target)
		}
	}
	return out
}

func link(e audit.Event, rel string) string { return strings.Join(links(e, rel), " ") }

// tellAttempt is what the Rollout says.
func (a Audit) tellAttempt(p Place, r *Retold) error {
	own := a.of(audit.KindAttempt, p.Rollout).where(func(e audit.Event) bool { return e.Object == r.Attempt })
	if _, has := own.first(outcome("Started")); !has {
		return fmt.Errorf("its begin is missing")
	}
	for _, e := range own.where(outcome("Stepping")) {
		r.Steps = append(r.Steps, e.Reason)
	}
	end, has := own.first(func(e audit.Event) bool {
		return slices.Contains([]string{"Promoted", "RolledBack", "Aborted", "Superseded"}, e.Outcome)
	})
	if !has {
		return fmt.Errorf("its end is missing")
	}
	r.Outcome = end.Outcome
	_, r.Halted = own.first(outcome("Withdrawing"))
	if r.Outcome != "RolledBack" {
		return nil
	}
	verdict, has := own.first(func(e audit.Event) bool { return strings.HasPrefix(e.Outcome, "Verdict") })
	if !has {
		return fmt.Errorf("it was rolled back, and the verdict is missing")
	}
	if r.Verdict, r.Run = verdict.Reason, link(verdict, "analysisRun"); !r.Halted {
		return fmt.Errorf("it was rolled back, and that the traffic was taken back is missing")
	}
	return nil
}

// tellDelivery is how its commit came: fetched, approved, applied.
func (a Audit) tellDelivery(p Place, r *Retold) error {
	of := func(e audit.Event) bool { return e.Commit == r.Commit && e.Outcome == "Succeeded" }
	if _, has := a.of(audit.KindRepository, p.Repository).first(of); !has {
		return fmt.Errorf("that commit %s was fetched is missing", r.Commit)
	}
	applied, has := a.of(audit.KindReconciliation, p.Sync).first(of)
	if !has {
		return fmt.Errorf("that commit %s was applied is missing", r.Commit)
	}
	about := a.where(func(e audit.Event) bool {
		return e.Kind == audit.KindDecision && e.Subject.Namespace == p.Sync.Namespace && e.Object == "Sync "+p.Sync.Name && e.Digest != "" && e.Digest == link(applied, "plan")
	})
	for _, e := range about.where(outcome("Refused")) {
		r.Refused = append(r.Refused, e.Actor)
	}
	for _, actor := range links(applied, "approvedBy") {
		if _, has := about.first(func(e audit.Event) bool { return e.Actor == actor && e.Outcome == "Applied" && e.Reason == "Approve" }); !has {
			return fmt.Errorf("%s is said to have approved commit %s, and the Decision is missing", actor, r.Commit)
		}
		r.Approved = append(r.Approved, actor)
	}
	return nil
}

// tellRevert is how Git was put right.
func (a Audit) tellRevert(p Place, r *Retold) error {
	own := a.of(audit.KindRevert, p.Rollout).where(func(e audit.Event) bool { return e.Object == r.Attempt })
	if r.Outcome != "RolledBack" && len(own) == 0 {
		return nil
	}
	if _, has := own.first(outcome("Pending")); !has {
		return fmt.Errorf("that Git is to be put right is missing")
	}
	pushed, has := own.first(outcome("Pushed"))
	if !has {
		return fmt.Errorf("the revert is missing")
	}
	r.Revert, r.Reverted, r.Restored = pushed.Commit, link(pushed, "badCommit"), link(pushed, "goodCommit")
	if r.Revert == "" || r.Reverted == "" || r.Restored == "" {
		return fmt.Errorf("the revert does not say what it is (%q), what it takes back (%q) or what it goes back to (%q)", r.Revert, r.Reverted, r.Restored)
	}
	for kind, of := range map[string]client.ObjectKey{audit.KindRepository: p.Repository, audit.KindReconciliation: p.Sync} {
		if _, has := a.of(kind, of).first(func(e audit.Event) bool { return e.Commit == r.Revert && e.Outcome == "Succeeded" }); !has {
			return fmt.Errorf("that the revert %s came back (%s) is missing", r.Revert, kind)
		}
	}
	return nil
}

// Corrected are the edits of objects of a Sync that were put right: what was edited, and by whom.
func (a Audit) Corrected(sync client.ObjectKey) []string {
	var out []string
	for _, e := range a.of(audit.KindDrift, sync).where(outcome("Corrected")) {
		out = append(out, e.Object+" by "+e.Actor)
	}
	return out
}

// Held is why a Sync did not take the newest commit, each reason once.
func (a Audit) Held(sync client.ObjectKey) []string {
	var out []string
	for _, e := range a.of(audit.KindReconciliation, sync) {
		if e.Reason == "Waiting" && !slices.Contains(out, e.Message) {
			out = append(out, e.Message)
		}
	}
	return out
}
