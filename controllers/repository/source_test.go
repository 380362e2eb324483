package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git/gittest"
)

// secrets serves one Secret from memory and counts how often it is read.
type secrets struct {
	client.Reader
	mu    sync.Mutex
	data  map[string]map[string]string
	reads int
}

func (s *secrets) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	data, found := s.data[key.String()]
	secret, ok := into.(*corev1.Secret)
	if !found || !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	secret.Data = map[string][]byte{}
	for k, v := range data {
		secret.Data[k] = []byte(v)
	}
	return nil
}

func repositoryAt(url, namespace, secret string) *v1alpha1.Repository {
	repo := &v1alpha1.Repository{}
	repo.Namespace, repo.Name = namespace, "fleet"
	repo.Spec.URL, repo.Spec.Ref.Branch = url, "main"
	if secret != "" {
		repo.Spec.SecretRef = &v1alpha1.LocalReference{Name: secret}
	}
	return repo
}

func TestOneDownloadServesAll(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	server.RequireBasicAuth("belay", "pw")
	commit := server.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	reader := &secrets{data: map[string]map[string]string{"shop/read": {"username": "belay", "password": "pw"}}}
	source := NewSource(reader, false)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			tree, err := source.Checkout(t.Context(), repositoryAt(server.URL("fleet"), "shop", "read"), commit)
			if err != nil {
				t.Errorf("Checkout: %v", err)
				return
			}
			if raw, err := tree.ReadFile("a.yaml"); err != nil || string(raw) != "a: 1\n" {
				t.Errorf("a.yaml: %q, %v", raw, err)
			}
		})
	}
	group.Wait()
	if reader.reads != 1 {
		t.Errorf("the Secret was read %d times, want once: every download reads it", reader.reads)
	}
	// Another namespace, without the Secret, must not profit from the cache.
	if _, err := source.Checkout(t.Context(), repositoryAt(server.URL("fleet"), "intruder", "read"), commit); Explain(err).Reason != ReasonSecretNotFound {
		t.Errorf("Checkout by another namespace: %v", err)
	}
	if _, err := source.Checkout(t.Context(), repositoryAt(server.URL("fleet"), "intruder", ""), commit); err == nil {
		t.Error("Checkout without credentials succeeded")
	}
}

func TestCheckoutOfACommitThatIsNoLongerTheHead(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	first := server.Commit("fleet", "main", "one", map[string]string{"a.yaml": "a: 1\n"})
	server.Commit("fleet", "main", "two", map[string]string{"a.yaml": "a: 2\n"})
	source := NewSource(&secrets{}, false)
	tree, err := source.Checkout(t.Context(), repositoryAt(server.URL("fleet"), "shop", ""), first)
	if err != nil {
		t.Fatal(err)
	}
	if raw, _ := tree.ReadFile("a.yaml"); string(raw) != "a: 1\n" {
		t.Errorf("a.yaml: %q, want that of the commit asked for", raw)
	}
	_, err = source.Checkout(t.Context(), repositoryAt(server.URL("fleet"), "shop", ""), strings.Repeat("ab", 20))
	if err == nil || Explain(err).Reason != ReasonCommitGone {
		t.Errorf("Checkout of an unknown commit: %v", err)
	}
}

func TestG02_CopiesAreBounded(t *testing.T) {
	server := gittest.New(t)
	source := NewSource(&secrets{}, false)
	source.Dir, source.MaxBytes = t.TempDir(), 100_000
	noise := func(i int) string {
		var out strings.Builder
		for n := range 2000 {
			fmt.Fprintf(&out, "%x", sha256.Sum256([]byte(fmt.Sprint(i, n))))
		}
		return out.String()
	}
	for i := range 5 {
		name := fmt.Sprint("fleet", i)
		server.Create(name)
		head := server.Commit(name, "main", "one", map[string]string{"a": noise(i)})
		if _, err := source.Checkout(t.Context(), repositoryAt(server.URL(name), "shop", ""), head); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(source.Dir)
	if err != nil || len(left) == 0 || len(left) > 3 {
		t.Errorf("%d copies of 80 KB are left, want at most 2 and the newest: %v", len(left), err)
	}
	again := NewSource(&secrets{}, false)
	again.Dir = source.Dir
	server.Git("fleet4", "update-ref", "-d", "refs/heads/main")
	repo := repositoryAt(server.URL("fleet4"), "shop", "")
	m, err := again.mirror(repo)
	if err != nil || m.store.Bytes() == 0 {
		t.Errorf("a new process does not take up the copy: %v", err)
	}
}

// TestG02_OneRequestServesAllRepositoriesOfAURL: who shares URL and Secret shares what the server says, and never hears it twice.
func TestG02_OneRequestServesAllRepositoriesOfAURL(t *testing.T) {
	server := gittest.New(t)
	server.Create("fleet")
	server.Commit("fleet", "main", "one", map[string]string{"a": "1"})
	server.Git("fleet", "tag", "v1.0.0", "main")
	source := NewSource(&secrets{}, false)
	repos := map[string]*v1alpha1.Repository{}
	for i, ref := range []v1alpha1.GitRef{{Branch: "main"}, {Tag: "v1.0.0"}, {SemVer: "1.x"}} {
		repo := repositoryAt(server.URL("fleet"), "shop", "")
		repo.Name, repo.Spec.Ref = fmt.Sprint(i), ref
		repos[repo.Name] = repo
	}
	look := func(name string, fresh bool) string {
		t.Helper()
		found, err := source.Head(t.Context(), repos[name], fresh)
		if err != nil {
			t.Fatal(err)
		}
		return found.Commit
	}
	first := look("0", false)
	if look("1", false) != first || look("2", false) != first || server.Requests() != 1 {
		t.Errorf("three Repositories of one URL made %d requests, want 1", server.Requests())
	}
	second := server.Commit("fleet", "main", "two", map[string]string{"a": "2"})
	if got := look("0", false); got != second || server.Requests() != 2 {
		t.Errorf("the second look of one Repository says %s, want %s: %d requests, want 2", got, second, server.Requests())
	}
	if look("1", true); server.Requests() != 3 {
		t.Errorf("%d requests after a fresh look was asked for, want 3", server.Requests())
	}
	other := repositoryAt(server.URL("fleet"), "intruder", "read")
	if _, err := source.Head(t.Context(), other, false); Explain(err).Reason != ReasonSecretNotFound {
		t.Errorf("a Repository with another Secret: %v", err)
	}
}

func TestRetryGrowsWithTheAgeOfTheTrouble(t *testing.T) {
	for _, test := range []struct{ failing, limit, want time.Duration }{
		{0, time.Minute, 2 * time.Second},
		{10 * time.Second, time.Minute, 5 * time.Second},
		{time.Hour, time.Minute, time.Minute},
		{time.Hour, 0, time.Second},
		{-time.Hour, time.Minute, 2 * time.Second},
	} {
		if got := Retry(test.failing, test.limit); got != test.want {
			t.Errorf("Retry(%v, %v) = %v, want %v", test.failing, test.limit, got, test.want)
		}
	}
}

func TestSentenceIsTheSameForTheSameTrouble(t *testing.T) {
	one := sentence(errors.New("read tcp 10.0.0.1:40001->10.0.0.2:443: connection reset").Error())
	two := sentence(errors.New("read tcp 10.0.0.1:50002->10.0.0.2:443: connection reset").Error())
	if one != two || !strings.Contains(one, "10.0.0.2:443") {
		t.Errorf("%q and %q", one, two)
	}
	if long := sentence(strings.Repeat("ä", 5000)); len(long) > maxMessage+len("…") {
		t.Errorf("%d bytes", len(long))
	}
}
