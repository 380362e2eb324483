package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// github speaks the REST API of GitHub and GitHub Enterprise.
type github struct {
	client
	repo string // owner/name
}

// githubPull is what GitHub and Gitea have in common of a pull request.
type githubPull struct {
	Number      int64    `json:"number"`
	HTMLURL     string   `json:"html_url"`
	State       string   `json:"state"`
	Merged      bool     `json:"merged"`
	MergedAt    string   `json:"merged_at"`
	MergeCommit string   `json:"merge_commit_sha"`
	Head        pullSide `json:"head"`
	Base        pullSide `json:"base"`
}

type pullSide struct {
	Ref string `json:"ref"`
	// Label is owner:branch on GitHub; on Gitea it is the branch, also once that is deleted, when Ref no longer is.
	Label string `json:"label"`
	// RepoID is Gitea's, Repo GitHub's; Repo is null once a fork is deleted.
	RepoID int64 `json:"repo_id"`
	Repo   *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func (s pullSide) repository() int64 {
	if s.RepoID == 0 && s.Repo != nil {
		return s.Repo.ID
	}
	return s.RepoID
}

func (p githubPull) common() PullRequest {
	out := PullRequest{Number: p.Number, URL: p.HTMLURL, State: Closed}
	switch {
	case p.Merged || p.MergedAt != "":
		out.State, out.Commit = Merged, p.MergeCommit
	case p.State == "open":
		out.State = Open
	}
	return out
}

func (g github) list(ctx context.Context, branch, base string) ([]PullRequest, error) {
	owner, _, _ := strings.Cut(g.repo, "/")
	var pulls []githubPull
	query := url.Values{"state": {"all"}, "head": {owner + ":" + branch}, "base": {base}, "per_page": {"30"}}
	if err := g.call(ctx, http.MethodGet, g.pulls(), query, nil, &pulls); err != nil {
		return nil, err
	}
	return matching(pulls, branch, base), nil
}

// matching does not rely on the server's filter: one that ignores it, or a fork that names its branch like ours, would
// have us take a stranger's for ours.
func matching(pulls []githubPull, branch, base string) (ours []PullRequest) {
	for _, p := range pulls {
		if (p.Head.Ref == branch || p.Head.Label == branch) && p.Base.Ref == base && p.Head.repository() == p.Base.repository() {
			ours = append(ours, p.common())
		}
	}
	return ours
}

func (g github) Get(ctx context.Context, number int64) (*PullRequest, error) {
	var pull githubPull
	if err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", g.pulls(), number), nil, nil, &pull); err != nil {
		return nil, err
	}
	return new(pull.common()), nil
}

func (g github) create(ctx context.Context, p Proposal) (*PullRequest, error) {
	return createPull(ctx, g.client, g.pulls(), p)
}

func (g github) shut(ctx context.Context, number int64) error {
	return closePull(ctx, g.client, g.pulls(), number)
}

func closePull(ctx context.Context, c client, path string, number int64) error {
	return c.call(ctx, http.MethodPatch, fmt.Sprintf("%s/%d", path, number), nil, map[string]string{"state": "closed"}, nil)
}

func createPull(ctx context.Context, c client, path string, p Proposal) (*PullRequest, error) {
	in := map[string]string{"title": p.Title, "head": p.Branch, "base": p.Base, "body": description(p.Body)}
	var pull githubPull
	err := c.call(ctx, http.MethodPost, path, nil, in, &pull)
	if exists(err) {
		return nil, errExists
	}
	if err != nil {
		return nil, err
	}
	return new(pull.common()), nil
}

func (g github) pulls() string { return "repos/" + escape(g.repo) + "/pulls" }

// escape escapes the parts of a path.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
