package forge

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// gitlab speaks the REST API of GitLab.
type gitlab struct {
	client
	project string // the full path, escaped as one part
}

type gitlabRequest struct {
	IID          int64  `json:"iid"`
	WebURL       string `json:"web_url"`
	State        string `json:"state"`
	Source       string `json:"source_branch"`
	Target       string `json:"target_branch"`
	SourceID     int64  `json:"source_project_id"`
	TargetID     int64  `json:"target_project_id"`
	MergeCommit  string `json:"merge_commit_sha"`
	SquashCommit string `json:"squash_commit_sha"`
	SHA          string `json:"sha"`
}

func (r gitlabRequest) common() PullRequest {
	out := PullRequest{Number: r.IID, URL: r.WebURL, State: Closed}
	switch r.State {
	case "merged":
		// Without a merge commit it was a fast-forward of the branch's own.
		out.State, out.Commit = Merged, cmp.Or(r.MergeCommit, r.SquashCommit, r.SHA)
	case "opened", "locked": // locked: the merge is under way
		out.State = Open
	}
	return out
}

func (g gitlab) list(ctx context.Context, branch, base string) ([]PullRequest, error) {
	var found []gitlabRequest
	query := url.Values{"state": {"all"}, "source_branch": {branch}, "target_branch": {base}, "per_page": {"30"}}
	if err := g.call(ctx, http.MethodGet, g.path(), query, nil, &found); err != nil {
		return nil, err
	}
	var ours []PullRequest
	for _, r := range found {
		if r.Source == branch && r.Target == base && r.SourceID == r.TargetID {
			ours = append(ours, r.common())
		}
	}
	return ours, nil
}

func (g gitlab) Get(ctx context.Context, number int64) (*PullRequest, error) {
	var found gitlabRequest
	if err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", g.path(), number), nil, nil, &found); err != nil {
		return nil, err
	}
	return new(found.common()), nil
}

func (g gitlab) create(ctx context.Context, p Proposal) (*PullRequest, error) {
	in := map[string]any{"title": p.Title, "source_branch": p.Branch, "target_branch": p.Base,
		"description": description(p.Body), "remove_source_branch": true}
	var made gitlabRequest
	err := g.call(ctx, http.MethodPost, g.path(), nil, in, &made)
	if exists(err) {
		return nil, errExists
	}
	if err != nil {
		return nil, err
	}
	return new(made.common()), nil
}

func (g gitlab) shut(ctx context.Context, number int64) error {
	return g.call(ctx, http.MethodPut, fmt.Sprintf("%s/%d", g.path(), number), nil, map[string]string{"state_event": "close"}, nil)
}

func (g gitlab) path() string { return "projects/" + g.project + "/merge_requests" }
