package simulation

import (
	"testing"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

func dark(t *testing.T, s *story) {
	s.title("A dark canary gets the requests of the team, then those of beta users beside a share, then a share alone.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 0)
	s.until(t, "", 0)
	s.quiet()
}

func darkAbort(t *testing.T, s *story) {
	s.title("A person aborts while requests of beta users go to the canary: the copies of the rules go with the weight, in one write.")
	s.commit("b")
	s.until(t, v1alpha1.StageStepping, 1)
	for range 13 {
		s.once()
	}
	if !matched(s.routes[0].object) || s.live() != 30 {
		t.Errorf("copies: %t, weight %d", matched(s.routes[0].object), s.live())
	}
	s.ask(v1alpha1.ActionAbort)
	s.until(t, v1alpha1.StageWithdrawing, 1)
	if matched(s.routes[0].object) || s.live() != 0 {
		t.Errorf("after one look, copies: %t, weight %d", matched(s.routes[0].object), s.live())
	}
	s.until(t, "", 0)
}
