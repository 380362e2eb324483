package forge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// Type is a kind of forge.
type Type string

// The forges that are known.
const (
	GitHub Type = "GitHub"
	GitLab Type = "GitLab"
	Gitea  Type = "Gitea"
)

// State is what became of a pull request.
type State string

// The states.
const (
	Open   State = "Open"
	Merged State = "Merged"
	// Closed without a merge: a person said no.
	Closed State = "Closed"
)

// ErrUnknown says that the forge behind a URL cannot be guessed from its name.
var ErrUnknown = errors.New("which forge serves the repository cannot be told from its URL")

// errExists says that there is a pull request of this branch already.
var errExists = errors.New("a pull request of this branch exists already")

// PullRequest is one pull request (GitLab: merge request).
type PullRequest struct {
	Number int64
	// URL is for people.
	URL   string
	State State
	// Commit on the base branch that merged it, where the forge tells.
	Commit string
}

// Proposal is what a pull request asks for.
type Proposal struct {
	// Branch is to be merged into Base.
	Branch, Base string
	Title, Body  string
}

// Forge is one repository on a forge.
type Forge interface {
	// Get reads one pull request.
	Get(ctx context.Context, number int64) (*PullRequest, error)
	// list returns the pull requests from branch into base, of any state.
	list(ctx context.Context, branch, base string) ([]PullRequest, error)
	// create opens one; errExists says that there is one.
	create(ctx context.Context, p Proposal) (*PullRequest, error)
	// shut closes one without a merge.
	shut(ctx context.Context, number int64) error
}

// Options say which repository on which forge.
type Options struct {
	// Type and APIURL are guessed from RepositoryURL where empty.
	Type   Type
	APIURL string
	// RepositoryURL is the repository's Git URL: https, http or ssh.
	RepositoryURL string
	// Token of the API; sent as a bearer token.
	Token string
	// CA are further roots to trust; nil: the system's.
	CA *x509.CertPool
}

// String names the repository, never the token.
func (o Options) String() string { return string(o.Type) + " " + o.RepositoryURL }

// GoString is String.
func (o Options) GoString() string { return o.String() }

// Format keeps every verb of fmt from looking inside.
func (o Options) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(o.String())) }

// Guess tells the type of the forge from the host of a Git URL, "" when it does not say.
func Guess(repositoryURL string) Type {
	u, err := url.Parse(repositoryURL)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	for _, known := range []struct {
		sign string
		kind Type
	}{{"github", GitHub}, {"gitlab", GitLab}, {"gitea", Gitea}, {"forgejo", Gitea}, {"codeberg", Gitea}} {
		if strings.Contains(host, known.sign) {
			return known.kind
		}
	}
	return ""
}

// New returns the forge of a repository; ErrUnknown when its type is neither given nor to be guessed.
func New(o Options) (Forge, error) {
	repository, err := url.Parse(o.RepositoryURL)
	if err != nil || repository.Hostname() == "" || strings.Trim(repository.Path, "/") == "" {
		return nil, errors.New("finding the forge: url names no repository on a server")
	}
	if o.Type == "" {
		o.Type = Guess(o.RepositoryURL)
	}
	if o.Type == "" {
		return nil, ErrUnknown
	}
	if o.APIURL == "" {
		o.APIURL = defaultAPI(o.Type, repository)
	}
	base, err := url.Parse(o.APIURL)
	if err != nil || base.Hostname() == "" || base.User != nil || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("finding the forge: apiURL must be an http or https URL without credentials")
	}
	if o.Token == "" {
		return nil, errors.New("finding the forge: there is no token for its API")
	}
	name := strings.TrimSuffix(strings.Trim(repository.Path, "/"), ".git")
	c := newClient(base, o)
	switch o.Type {
	case GitHub:
		return github{client: c, repo: lastTwo(name)}, nil
	case GitLab:
		return gitlab{client: c, project: url.PathEscape(name)}, nil
	case Gitea:
		return gitea{client: c, repo: lastTwo(name)}, nil
	}
	return nil, fmt.Errorf("finding the forge: type %q is none of GitHub, GitLab and Gitea", o.Type)
}

// defaultAPI is where the API of a forge is by convention.
func defaultAPI(kind Type, repository *url.URL) string {
	scheme, host := repository.Scheme, repository.Host
	if scheme != "http" { // an ssh port is not the API's
		scheme, host = "https", repository.Host
		if repository.Scheme == "ssh" {
			host = repository.Hostname()
		}
	}
	switch {
	case kind == GitHub && host == "github.com":
		return "https://api.github.com"
	case kind == GitHub:
		return scheme + "://" + host + "/api/v3"
	case kind == GitLab:
		return scheme + "://" + host + "/api/v4"
	}
	return scheme + "://" + host + "/api/v1"
}

// lastTwo is owner/name, whatever folder the forge is served from.
func lastTwo(name string) string { return path.Join(path.Base(path.Dir(name)), path.Base(name)) }

// Find returns the pull request from branch into base, nil when there has never been one: an open one first, the oldest of
// several, then a merged one, then the newest.
func Find(ctx context.Context, f Forge, branch, base string) (*PullRequest, error) {
	all, err := f.list(ctx, branch, base)
	return choose(all), err
}

// Only is Find, and closes the other open ones: a forge that looks for duplicates before it takes a lock (Gitea) opens one for
// each that asks at once.
func Only(ctx context.Context, f Forge, branch, base string) (*PullRequest, error) {
	all, err := f.list(ctx, branch, base)
	found := choose(all)
	for _, other := range all {
		if err == nil && other.State == Open && other.Number != found.Number {
			err = shut(ctx, f, other.Number)
		}
	}
	return found, err
}

// shut closes a pull request that is open; that somebody else has closed it meanwhile is as good.
func shut(ctx context.Context, f Forge, number int64) error {
	err := f.shut(ctx, number)
	if err == nil {
		return nil
	}
	if now, again := f.Get(ctx, number); again == nil && now.State != Open {
		return nil
	}
	return fmt.Errorf("closing pull request %d, a duplicate: %w", number, err)
}

// Propose returns the pull request of a branch, and opens it when there has never been one. Asked by several at once it leaves
// one. What an error leaves is taken up when it is called again.
func Propose(ctx context.Context, f Forge, p Proposal) (*PullRequest, error) {
	found, err := Only(ctx, f, p.Branch, p.Base)
	if err != nil || found != nil {
		return found, err
	}
	made, err := f.create(ctx, p)
	// That it exists means that somebody was quicker, or that our own earlier request got through and its answer was lost.
	if err != nil && !errors.Is(err, errExists) {
		return nil, err
	}
	if found, err = Only(ctx, f, p.Branch, p.Base); err == nil && found == nil {
		if found = made; made == nil {
			err = fmt.Errorf("opening a pull request of %s: %w, but it is not listed", p.Branch, errExists)
		}
	}
	return found, err
}

// choose prefers an open pull request, the oldest of several; then a merged one, then the newest.
func choose(all []PullRequest) *PullRequest {
	rank := map[State]int{Open: 2, Merged: 1}
	var best *PullRequest
	for i := range all {
		p := &all[i]
		switch {
		case best == nil || rank[p.State] > rank[best.State]:
			best = p
		case rank[p.State] == rank[best.State] && (p.Number > best.Number) == (p.State != Open):
			best = p
		}
	}
	return best
}
