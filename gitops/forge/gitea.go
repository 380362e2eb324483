package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// gitea speaks the REST API of Gitea and Forgejo.
type gitea struct {
	client
	repo string // owner/name
}

const (
	giteaPage = 50
	// giteaPages bounds how far back pull requests are looked at, the last changed first.
	giteaPages = 20
)

// list reads page by page, as the API does not filter by head, until a page adds nothing to what was found.
func (g gitea) list(ctx context.Context, branch, base string) (out []PullRequest, err error) {
	for page := 1; page <= giteaPages; page++ {
		var pulls []githubPull
		query := url.Values{"state": {"all"}, "base_branch": {base}, "sort": {"recentupdate"}, "limit": {strconv.Itoa(giteaPage)}, "page": {strconv.Itoa(page)}}
		if err := g.call(ctx, http.MethodGet, g.pulls(), query, nil, &pulls); err != nil {
			return nil, err
		}
		found := matching(pulls, branch, base)
		if out = append(out, found...); len(found) == 0 && len(out) > 0 || len(pulls) == 0 {
			break
		}
	}
	return out, nil
}

func (g gitea) Get(ctx context.Context, number int64) (*PullRequest, error) {
	var pull githubPull
	if err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", g.pulls(), number), nil, nil, &pull); err != nil {
		return nil, err
	}
	return new(pull.common()), nil
}

func (g gitea) create(ctx context.Context, p Proposal) (*PullRequest, error) {
	return createPull(ctx, g.client, g.pulls(), p)
}

func (g gitea) shut(ctx context.Context, number int64) error {
	return closePull(ctx, g.client, g.pulls(), number)
}

func (g gitea) pulls() string { return "repos/" + escape(g.repo) + "/pulls" }
