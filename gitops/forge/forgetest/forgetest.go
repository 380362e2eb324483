// Package forgetest gives tests the pull request APIs of GitHub, GitLab and Gitea on loopback: paths, fields, states and
// refusals as those forges have them, over one list in memory. It can lose answers, and checks the token.
package forgetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Token that the server wants.
const Token = "forge-token-1234567890"

// Pull is one pull request.
type Pull struct {
	Number       int64
	Branch, Base string
	Title, Body  string
	State        string // open, closed, merged
	// Fork says that the branch is in another repository.
	Fork   bool
	Commit string
}

// Server is one repository's API.
type Server struct {
	kind string
	http *httptest.Server
	repo string

	mu     sync.Mutex
	pulls  []Pull
	losing int
	// unlocked: how many creations are let through before one is looked at for duplicates.
	unlocked int
	broken   int
	// created counts how often creating succeeded, refused how often it was refused as a duplicate.
	created, refused int
}

// New starts a server of a kind: GitHub, GitLab or Gitea. It knows the repository shop/fleet.
func New(t testing.TB, kind string) *Server {
	t.Helper()
	s := &Server{kind: kind, repo: "shop/fleet"}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

// Serve has it know another repository instead.
func (s *Server) Serve(repo string) { s.with(func() { s.repo = repo }) }

// API is the address of the API.
func (s *Server) API() string { return s.http.URL + s.Prefix() }

// Prefix is the path of the API.
func (s *Server) Prefix() string {
	return map[string]string{"GitHub": "/api/v3", "GitLab": "/api/v4", "Gitea": "/api/v1"}[s.kind]
}

// Handler serves the API, for a test that stands in front of it.
func (s *Server) Handler() http.Handler { return s.http.Config.Handler }

// LoseAnswers drops the connection of the next n creations after they took effect.
func (s *Server) LoseAnswers(n int) { s.with(func() { s.losing = n }) }

// Break answers the next n requests with status 500.
func (s *Server) Break(n int) { s.with(func() { s.broken = n }) }

// Unlock lets the next n creations through although there is a pull request of the branch, as Gitea does when they come at once.
func (s *Server) Unlock(n int) { s.with(func() { s.unlocked = n }) }

// Pulls are the pull requests as they are.
func (s *Server) Pulls() (out []Pull) {
	s.with(func() { out = slices.Clone(s.pulls) })
	return out
}

// Counts are how often a creation succeeded and was refused.
func (s *Server) Counts() (created, refused int) {
	s.with(func() { created, refused = s.created, s.refused })
	return created, refused
}

// Set changes a pull request's state: open, closed or merged, the latter with the commit that did it.
func (s *Server) Set(number int64, state, commit string) {
	s.with(func() {
		for i := range s.pulls {
			if s.pulls[i].Number == number {
				s.pulls[i].State, s.pulls[i].Commit = state, commit
			}
		}
	})
}

// Add puts a pull request there that somebody else has made.
func (s *Server) Add(p Pull) {
	s.with(func() {
		p.Number = int64(len(s.pulls) + 1)
		s.pulls = append(s.pulls, p)
	})
}

func (s *Server) with(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := s.Prefix() + map[string]string{
		"GitHub": "/repos/" + s.repo + "/pulls", "Gitea": "/repos/" + s.repo + "/pulls",
		"GitLab": "/projects/" + url.PathEscape(s.repo) + "/merge_requests"}[s.kind]
	rest, found := strings.CutPrefix(r.URL.EscapedPath(), prefix)
	switch {
	case s.broken > 0:
		s.broken--
		http.Error(w, "<html>oops "+r.Header.Get("Authorization")+"</html>", http.StatusInternalServerError)
	case r.Header.Get("Authorization") != "Bearer "+Token:
		answer(w, http.StatusUnauthorized, map[string]any{"message": "401 Unauthorized: " + r.Header.Get("Authorization")})
	case !found:
		answer(w, http.StatusNotFound, map[string]any{"message": "Not Found"})
	case rest == "" && r.Method == http.MethodGet:
		s.list(w, r)
	case rest == "" && r.Method == http.MethodPost:
		s.create(w, r)
	default:
		number, _ := strconv.ParseInt(strings.TrimPrefix(rest, "/"), 10, 64)
		for i := range s.pulls {
			if s.pulls[i].Number == number && s.edit(&s.pulls[i], r) {
				answer(w, http.StatusOK, s.shape(s.pulls[i]))
				return
			}
		}
		answer(w, http.StatusNotFound, map[string]any{"message": "Not Found"})
	}
}

// edit carries out a request for one pull request: a look, or that it be closed, as each forge wants it said.
func (s *Server) edit(p *Pull, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	method, want := http.MethodPatch, map[string]string{"state": "closed"}
	if s.kind == "GitLab" {
		method, want = http.MethodPut, map[string]string{"state_event": "close"}
	}
	var in map[string]string
	if r.Method != method || json.NewDecoder(r.Body).Decode(&in) != nil || !maps.Equal(in, want) || p.State != "open" {
		return false
	}
	p.State = "closed"
	return true
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	out := []any{}
	for _, p := range slices.Backward(s.pulls) {
		keep := query.Get("state") == "all"
		switch s.kind {
		case "GitHub":
			keep = keep && !p.Fork && strings.HasSuffix(query.Get("head"), ":"+p.Branch) && query.Get("base") == p.Base
		case "GitLab":
			keep = keep && query.Get("source_branch") == p.Branch && query.Get("target_branch") == p.Base
		}
		if keep {
			out = append(out, s.shape(p))
		}
	}
	if s.kind == "Gitea" { // no filter, but pages
		page, _ := strconv.Atoi(query.Get("page"))
		limit, _ := strconv.Atoi(query.Get("limit"))
		from := min(max(page-1, 0)*limit, len(out))
		out = out[from:min(from+limit, len(out))]
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"message": err.Error()})
		return
	}
	field := func(name string) string { text, _ := in[name].(string); return text }
	p := Pull{Number: int64(len(s.pulls) + 1), Branch: field("head"), Base: field("base"), Title: field("title"), Body: field("body"), State: "open"}
	if s.kind == "GitLab" {
		p.Branch, p.Base, p.Body = field("source_branch"), field("target_branch"), field("description")
	}
	unlocked := s.unlocked > 0
	s.unlocked = max(0, s.unlocked-1)
	for _, other := range s.pulls {
		if !unlocked && other.State == "open" && other.Branch == p.Branch && other.Base == p.Base {
			s.refused++
			s.duplicate(w, other)
			return
		}
	}
	s.pulls = append(s.pulls, p)
	s.created++
	if s.losing > 0 {
		s.losing--
		panic(http.ErrAbortHandler)
	}
	answer(w, http.StatusCreated, s.shape(p))
}

// duplicate refuses as each forge does.
func (s *Server) duplicate(w http.ResponseWriter, other Pull) {
	switch s.kind {
	case "GitHub":
		answer(w, http.StatusUnprocessableEntity, map[string]any{"message": "Validation Failed", "errors": []any{
			map[string]any{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for shop:" + other.Branch + "."}}})
	case "GitLab":
		answer(w, http.StatusConflict, map[string]any{"message": []any{
			fmt.Sprintf("Another open merge request already exists for this source branch: !%d", other.Number)}})
	default:
		answer(w, http.StatusConflict, map[string]any{"message": fmt.Sprintf("pull request already exists for these targets [id: %d]", other.Number)})
	}
}

func (s *Server) shape(p Pull) map[string]any {
	from := 1
	if p.Fork {
		from = 2
	}
	web := fmt.Sprintf("%s/%s/pulls/%d", s.http.URL, s.repo, p.Number)
	if s.kind == "GitLab" {
		state := map[string]string{"open": "opened", "closed": "closed", "merged": "merged"}[p.State]
		return map[string]any{"iid": p.Number, "id": p.Number + 1000, "web_url": web, "state": state, "source_branch": p.Branch, "target_branch": p.Base,
			"source_project_id": from, "target_project_id": 1,
			"merge_commit_sha": orNil(p.Commit), "squash_commit_sha": nil, "sha": "0123"}
	}
	out := map[string]any{"number": p.Number, "id": p.Number + 1000, "html_url": web, "state": "closed", "merged_at": nil, "merge_commit_sha": orNil(p.Commit),
		"head": map[string]any{"ref": p.Branch, "label": "shop:" + p.Branch, "repo": map[string]any{"id": from}},
		"base": map[string]any{"ref": p.Base, "label": "shop:" + p.Base, "repo": map[string]any{"id": 1}}}
	if s.kind == "Gitea" {
		head := p.Branch
		if p.State != "open" { // the branch is deleted
			head = fmt.Sprintf("refs/pull/%d/head", p.Number)
		}
		out["head"] = map[string]any{"ref": head, "label": p.Branch, "repo_id": from}
		out["base"] = map[string]any{"ref": p.Base, "label": p.Base, "repo_id": 1}
	}
	switch p.State {
	case "open":
		out["state"] = "open"
		out["merge_commit_sha"] = "test-merge" // GitHub's, of a merge that has not happened
	case "merged":
		out["merged_at"] = "2026-01-01T00:00:00Z"
	}
	return out
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
