package repository

import (
	"testing"

	"github.com/belay-delivery/belay/gitops/git/gittest"
	"github.com/belay-delivery/belay/gitops/history"
)

// TestG09_TheDeclaringCommitIsNamed: on a real server, also after the branch has moved on, with author, subject and line.
func TestG09_TheDeclaringCommitIsNamed(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	const head = "kind: Deployment\nmetadata: {name: shop}\nspec:\n"
	first := server.Commit("fleet", "main", "one\n\nwhy", map[string]string{"a.yaml": head + "  replicas: 1\n  paused: true\n"})
	second := server.Commit("fleet", "main", "two", map[string]string{"a.yaml": head + "  replicas: 2\n  paused: true\n"})
	source, repo := NewSource(&secrets{}, false), repositoryAt(server.URL("fleet"), "shop", "")
	place := history.Place{File: "a.yaml", Document: history.Document{Kind: "Deployment", Name: "shop"}, Field: ".spec.replicas"}
	ask := func(commit, field, want string, line int) {
		t.Helper()
		place.Field = field
		a, err := source.Blame(t.Context(), repo, commit, place)
		if err != nil || a.Commit.SHA != want || a.Line != line || !a.Exact || a.Commit.AuthorEmail != "ann@example.com" {
			t.Errorf("%s at %s: %+v, %v, want %s line %d", field, commit, a, err, want, line)
		}
	}
	ask(second, ".spec.replicas", second, 4)
	ask(second, ".spec.paused", first, 5)
	third := server.Commit("fleet", "main", "three", map[string]string{"a.yaml": "# moved\n" + head + "  replicas: 2\n  paused: false\n"})
	ask(third, ".spec.replicas", second, 5)
	ask(third, ".spec.paused", third, 6)
	ask(second, ".spec.paused", first, 5)
}
