package main

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// summary is the story in short, for a person.
func (s *story) summary() {
	r := s.report
	s.chapter("What happened")
	fmt.Printf("  Version 2 came by commit %s and was given to more and more people, on evidence:\n\n", short(r.Good.Commit))
	s.table(r.Good.Steps)
	fmt.Printf("\n  %s after %.0f s. Of %s requests meanwhile, %s.\n",
		r.Good.Outcome, r.Good.Seconds, thousands(r.Good.TotalRequests), s.none(r.Good.FailedRequests, "failed"))
	fmt.Printf("\n  Version 3 came by commit %s, and %d of 100 of its answers were errors:\n\n", short(r.Bad.Commit), 5)
	s.table(r.Bad.Steps)
	fmt.Printf("\n  %s, because %s.\n", r.Bad.Outcome, strings.TrimSuffix(r.Bad.Message, "."))
	fmt.Printf("  %s of %s requests met version 3 (%.1f %%), %d of them got an error.\n", thousands(r.Bad.ExposedRequests), thousands(r.Bad.TotalRequests),
		100*float64(r.Bad.ExposedRequests)/float64(max(1, r.Bad.TotalRequests)), r.Bad.ExposedErrors)
	fmt.Printf("  From the first bad answer to weight 0: %s. To version 3's very last answer: %.1f s.\n",
		s.paint(bold, fmt.Sprintf("%.1f s", r.Bad.SecondsToZeroWeight)), r.Bad.SecondsToLastBadAnswer)
	fmt.Printf("  Of the other requests, %s; after the way back, %s.\n", s.none(r.Bad.OtherFailedRequests, "failed"), s.none(r.Bad.FailedRequestsAfterZeroWeight, "failed"))
	fmt.Printf("\n  %s committed the way back %.0f s after the verdict, on top of what Linus had pushed meanwhile:\n\n", r.Revert.Author, r.Revert.SecondsToPush)
	fmt.Printf("    commit %s\n    changes %s\n\n", r.Revert.Commit, strings.Join(r.Revert.FilesChanged, ", "))
	for line := range strings.SplitSeq(r.Revert.Message, "\n") {
		fmt.Println(strings.TrimRight("      "+line, " "))
	}
	s.verdicts(s.claims())
	fmt.Printf("\n  %.0f s in all, at %.0f requests per second. The numbers are in %s.\n", r.Seconds, r.Rate, s.settings.report())
}

func (s *story) table(steps []Step) {
	fmt.Printf("    %-8s %7s %9s %10s %8s %12s\n", "step", "weight", "seconds", "requests", "errors", "error rate")
	for _, st := range steps {
		bar := strings.Repeat("#", int(st.Weight)/5)
		fmt.Printf("    %-8s %6d%% %9.1f %10s %8d %11.2f%%  %s\n", st.Name, st.Weight, st.Seconds, thousands(st.Requests), st.Errors, 100*st.ErrorRatio, bar)
		for _, e := range st.Evidence {
			fmt.Printf("             %-7s %s\n", e.Verdict, s.paint(dim, e.Message))
		}
	}
}

func (s *story) none(n int, what string) string {
	if n == 0 {
		return s.paint(green, "none "+what)
	}
	return s.paint(red, fmt.Sprintf("%d %s", n, what))
}

func short(sha string) string { return sha[:min(8, len(sha))] }

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func (s *story) leaveRunning() error {
	return s.keepGoing(s.app, s.fleet, path.Join(folder, "rollout.yaml"))
}
