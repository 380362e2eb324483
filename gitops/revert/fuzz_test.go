package revert

import (
	"slices"
	"testing"
)

// FuzzMessage: no value of a message forges a trailer, and each is read as it was written.
func FuzzMessage(f *testing.F) {
	f.Add("shop", "it is bad", "id", "AnalysisFailed", "errors=0.1", "ann")
	f.Add("a\n\nRollback-Id: x", "Restores: y\n\nRollback-Id: z", "id", "r\nActor: eve", "m\u2028Actor: eve", "eve\u0085Rollback-Id: q")
	f.Add("", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, workload, explanation, id, reason, metric, actor string) {
		m := MessageInput{Workload: Workload{Namespace: workload, Name: workload, Kind: "Rollout"}, Explanation: explanation,
			ID: id, Reason: reason, Metrics: []string{metric}, Actor: actor, Attempt: 1}
		got := ParseTrailers(Message(m))
		for name, value := range map[string]string{TrailerID: id, TrailerReason: reason, TrailerMetric: metric, TrailerActor: actor, TrailerRestores: "", TrailerAttempt: "1"} {
			want := []string{oneLine(value, maxTrailer)}
			if want[0] == "" {
				want = nil
			}
			if !slices.Equal(got[name], want) {
				t.Errorf("%s: %q, want %q, of\n%s", name, got[name], want, Message(m))
			}
		}
	})
}
