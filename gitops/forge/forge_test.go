package forge_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/belay-delivery/belay/gitops/forge"
	"github.com/belay-delivery/belay/gitops/forge/forgetest"
)

var kinds = []forge.Type{forge.GitHub, forge.GitLab, forge.Gitea}

func open(t *testing.T, kind forge.Type, s *forgetest.Server) forge.Forge {
	t.Helper()
	f, err := forge.New(forge.Options{Type: kind, APIURL: s.API(), RepositoryURL: "https://git.example.com/shop/fleet.git", Token: forgetest.Token})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var proposal = forge.Proposal{Branch: "rollback/abc", Base: "main", Title: "revert(shop/checkout): b -> a", Body: "why\n\nRollback-Id: abc\n"}

// each runs a test against every kind of forge.
func each(t *testing.T, test func(*testing.T, *forgetest.Server, forge.Forge)) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			s := forgetest.New(t, string(kind))
			test(t, s, open(t, kind, s))
		})
	}
}

func TestProposeOpensOnce(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, f forge.Forge) {
		s.Add(forgetest.Pull{Branch: "rollback/abc", Base: "release", State: "open"})
		s.Add(forgetest.Pull{Branch: "rollback/abcd", Base: "main", State: "open"})
		s.Add(forgetest.Pull{Branch: "rollback/abc", Base: "main", State: "closed", Fork: true})
		first, err := forge.Propose(t.Context(), f, proposal)
		if err != nil || first.State != forge.Open || first.Number != 4 || first.URL == "" || first.Commit != "" {
			t.Fatalf("%+v, %v", first, err)
		}
		made := s.Pulls()[3]
		if made.Title != proposal.Title || made.Body != proposal.Body || made.Branch != proposal.Branch || made.Base != "main" {
			t.Errorf("opened %+v", made)
		}
		again, err := forge.Propose(t.Context(), f, proposal)
		if err != nil || again.Number != 4 {
			t.Errorf("%+v, %v", again, err)
		}
		if created, _ := s.Counts(); created != 1 {
			t.Errorf("%d were created", created)
		}
	})
}

func TestLostAnswerOfACreation(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, f forge.Forge) {
		s.LoseAnswers(1)
		if _, err := forge.Propose(t.Context(), f, proposal); err == nil {
			t.Fatal("the lost answer went unnoticed")
		}
		found, err := forge.Propose(t.Context(), f, proposal)
		if err != nil || found.Number != 1 || len(s.Pulls()) != 1 {
			t.Errorf("%+v, %v; %d there", found, err, len(s.Pulls()))
		}
	})
}

// raced opens a forge where somebody else opens the same between our look and our creation.
func raced(t *testing.T, s *forgetest.Server) forge.Forge {
	t.Helper()
	kind := forge.Type(strings.Split(t.Name(), "/")[1])
	var once atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && once.CompareAndSwap(false, true) {
			s.Add(forgetest.Pull{Branch: proposal.Branch, Base: "main", State: "open"})
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	f, err := forge.New(forge.Options{Type: kind, APIURL: front.URL + s.Prefix(), RepositoryURL: "https://x/shop/fleet", Token: forgetest.Token})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The refusal is recognised, and the other's is used.
func TestExistsIsNotAnError(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, _ forge.Forge) {
		found, err := forge.Propose(t.Context(), raced(t, s), proposal)
		if err != nil || found.Number != 1 {
			t.Errorf("%+v, %v", found, err)
		}
		if created, refused := s.Counts(); created != 0 || refused != 1 {
			t.Errorf("%d created, %d refused", created, refused)
		}
	})
}

// A forge that lets two through keeps the older one.
func TestOneOfSeveralIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, _ forge.Forge) {
		s.Unlock(1)
		found, err := forge.Propose(t.Context(), raced(t, s), proposal)
		if err != nil || found.Number != 1 || found.State != forge.Open {
			t.Errorf("%+v, %v", found, err)
		}
		if pulls := s.Pulls(); len(pulls) != 2 || pulls[0].State != "open" || pulls[1].State != "closed" {
			t.Errorf("%+v", pulls)
		}
	})
}

func TestWhatPeopleDecidedStands(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, f forge.Forge) {
		if _, err := forge.Propose(t.Context(), f, proposal); err != nil {
			t.Fatal(err)
		}
		for state, want := range map[string]forge.State{"closed": forge.Closed, "merged": forge.Merged} {
			s.Set(1, state, "c0ffee")
			found, err := forge.Propose(t.Context(), f, proposal)
			if err != nil || found.State != want || found.Number != 1 {
				t.Errorf("%s: %+v, %v", state, found, err)
			}
			got, err := f.Get(t.Context(), 1)
			if err != nil || got.State != want || want == forge.Merged && got.Commit != "c0ffee" {
				t.Errorf("%s: %+v, %v", state, got, err)
			}
		}
		s.Set(1, "closed", "")
		s.Add(forgetest.Pull{Branch: proposal.Branch, Base: "main", State: "open"})
		if found, err := forge.Propose(t.Context(), f, proposal); err != nil || found.Number != 2 {
			t.Errorf("one that a person opened anew: %+v, %v", found, err)
		}
	})
}

func TestGiteaIsReadPageByPage(t *testing.T) {
	s := forgetest.New(t, "Gitea")
	s.Add(forgetest.Pull{Branch: proposal.Branch, Base: "main", State: "closed"})
	for i := range 120 {
		s.Add(forgetest.Pull{Branch: fmt.Sprint("other-", i), Base: "main", State: "open"})
	}
	if found, err := forge.Find(t.Context(), open(t, forge.Gitea, s), proposal.Branch, "main"); err != nil || found == nil || found.Number != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTokenIsNeverShown(t *testing.T) {
	each(t, func(t *testing.T, s *forgetest.Server, f forge.Forge) {
		kind := forge.Type(strings.Split(t.Name(), "/")[1])
		s.Break(1) // answers with what it was sent
		_, err := forge.Find(t.Context(), f, "x", "main")
		check := func(err error) {
			t.Helper()
			if err == nil || strings.Contains(err.Error(), forgetest.Token) || strings.Contains(err.Error(), "other-secret") {
				t.Errorf("error %v", err)
			}
		}
		check(err)
		wrong, err := forge.New(forge.Options{Type: kind, APIURL: s.API(), RepositoryURL: "https://x/shop/fleet", Token: "other-secret"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = forge.Find(t.Context(), wrong, "x", "main")
		check(err)
		var refused *forge.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || !strings.Contains(err.Error(), "right to open pull requests") {
			t.Errorf("error %v", err)
		}
		o := forge.Options{Type: kind, RepositoryURL: "https://x/y/z", Token: "other-secret"}
		if text := fmt.Sprintf("%v %+v %#v %s", o, o, o, o); strings.Contains(text, "other-secret") {
			t.Error(text)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		says  string
	}{
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(strings.Repeat("[", 1<<20)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "the answer is above"},
		"a page for people": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "not the JSON that was expected"},
		"sent elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "HTTP status 307"},
		"long and strange": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message": "\u001b[31mno\n%s"}`, strings.Repeat("x", 9000))
		}, "HTTP status 403: [31mno xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			f, err := forge.New(forge.Options{Type: forge.GitHub, APIURL: server.URL, RepositoryURL: "https://x/shop/fleet", Token: "t0ken"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = forge.Find(t.Context(), f, "b", "main")
			if err == nil || !strings.Contains(err.Error(), test.says) || len(err.Error()) > 1000 {
				t.Errorf("%d bytes: %v", len(fmt.Sprint(err)), err)
			}
		})
	}
}

func TestGuess(t *testing.T) {
	for url, want := range map[string]forge.Type{
		"https://github.com/a/b.git": forge.GitHub, "ssh://git@github.example.com:2222/a/b": forge.GitHub, "https://gitlab.com/g/sub/p.git": forge.GitLab,
		"https://gitea.example.com/a/b": forge.Gitea, "https://codeberg.org/a/b": forge.Gitea, "https://forgejo.x/a/b": forge.Gitea,
		"https://git.example.com/github/b": "", "file:///srv/github.git": "",
	} {
		if got := forge.Guess(url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	for name, o := range map[string]forge.Options{
		"type":        {RepositoryURL: "https://git.example.com/a/b", Token: "t"},
		"token":       {RepositoryURL: "https://github.com/a/b"},
		"api":         {RepositoryURL: "https://github.com/a/b", Token: "t", APIURL: "ftp://x"},
		"credentials": {RepositoryURL: "https://github.com/a/b", Token: "t", APIURL: "https://me:pw@x/"},
		"no repo":     {RepositoryURL: "file:///srv/x.git", Token: "t", Type: forge.GitHub},
	} {
		if _, err := forge.New(o); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
