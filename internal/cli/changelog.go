package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/internal/cli/view"
)

const (
	changelogLimit = 1000
	// maxGitOutput bounds what is read of a local clone's log.
	maxGitOutput = 64 << 20
	// fetchTimeout is how long a Git server may take.
	fetchTimeout = 2 * time.Minute
)

type changelogOptions struct {
	dir, repository, branch string
	since                   time.Duration
	limit                   int
	output                  string
}

// change is one commit that Belay made, as its trailers tell it.
type change struct {
	Commit   string    `json:"commit"`
	At       time.Time `json:"at"`
	Subject  string    `json:"subject"`
	Why      string    `json:"why,omitempty"`
	Workload string    `json:"workload,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	// Trailers are all of them, by name.
	Trailers map[string][]string `json:"trailers"`
}

func (a *app) changelogCommand() *cobra.Command {
	o := &changelogOptions{}
	cmd := &cobra.Command{
		Use:     "changelog [WORKLOAD]",
		Short:   "List what Belay committed to Git, and why",
		Long:    "List what Belay committed to Git, and why, newest first, from the trailers of its commits.\n\nIt reads a local clone (--dir), else the branch of a Repository, with the credentials of its Secret, which you must be allowed to read.",
		Example: "  kubectl belay changelog --dir . checkout\n  kubectl belay changelog --repository fleet --since 720h -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			workload := ""
			if len(args) == 1 {
				workload = args[0]
			}
			return a.changelog(cmd.Context(), workload, o)
		},
	}
	cmd.Flags().StringVar(&o.dir, "dir", "", "A local clone to read")
	cmd.Flags().StringVar(&o.repository, "repository", "", "The Repository to read. Default: the only one of the namespace")
	cmd.Flags().StringVar(&o.branch, "branch", "", "The branch to read. Default: what is checked out, or the Repository's")
	cmd.Flags().DurationVar(&o.since, "since", 0, "Leave out what is older, e.g. 720h")
	cmd.Flags().IntVar(&o.limit, "limit", changelogLimit, "How many commits are looked at")
	outputFlag(cmd, &o.output, "json", "yaml")
	return cmd
}

func (a *app) changelog(ctx context.Context, workload string, o *changelogOptions) error {
	if o.limit < 1 || o.limit > 100_000 {
		return fmt.Errorf("--limit=%d: use 1 to 100000", o.limit)
	}
	read := a.remoteLog
	if o.dir != "" {
		read = a.localLog
	}
	commits, err := read(ctx, o)
	if err != nil {
		return err
	}
	changes := []change{}
	for _, c := range commits {
		made, ok := changeOf(c)
		if ok && (workload == "" || names(made.Workload, workload)) && (o.since == 0 || time.Since(made.At) <= o.since) {
			changes = append(changes, made)
		}
	}
	if o.output != "" {
		return printObject(a.streams.Out, o.output, changes)
	}
	return printText(a.streams.Out, renderChangelog(changes, len(commits)))
}

// changeOf reads a commit's trailers; ok is false where it is not one of Belay's.
func changeOf(c git.Commit) (change, bool) {
	trailers := revert.ParseTrailers(c.Message)
	if trailers[revert.TrailerID] == nil {
		return change{}, false
	}
	first := func(name string) string {
		if values := trailers[name]; len(values) > 0 {
			return values[0]
		}
		return ""
	}
	_, why, _ := strings.Cut(c.Message, "\n\n")
	why, _, _ = strings.Cut(why, "\n\n")
	if revert.ParseTrailers("subject\n\n" + why)[revert.TrailerID] != nil {
		why = "" // no body: these are the trailers
	}
	return change{Commit: c.SHA, At: c.Time.UTC(), Subject: c.Subject, Why: strings.Join(strings.Fields(why), " "), Trailers: trailers,
		Workload: first(revert.TrailerWorkload), Reason: first(revert.TrailerReason), Actor: first(revert.TrailerActor)}, true
}

// names says that a trailer "namespace/kind/name" is what a person means.
func names(trailer, asked string) bool {
	return trailer == asked || strings.HasSuffix(trailer, "/"+asked)
}

// renderChangelog writes changes by day, as a changelog has them.
func renderChangelog(changes []change, looked int) string {
	if len(changes) == 0 {
		return fmt.Sprintf("Belay made none of the newest %d commits.\n", looked)
	}
	var out strings.Builder
	day := ""
	for _, c := range changes {
		if today := c.At.Format(time.DateOnly); today != day {
			if day != "" {
				out.WriteByte('\n')
			}
			day = today
			fmt.Fprintf(&out, "## %s\n", day)
		}
		fmt.Fprintf(&out, "- %s %s (%s)\n", c.At.Format("15:04"), view.Clean(c.Subject), view.ShortCommit(c.Commit))
		facts := []string{c.Reason}
		facts = append(facts, c.Trailers[revert.TrailerMetric]...)
		if c.Actor != "" {
			facts = append(facts, "by "+c.Actor)
		}
		for _, about := range [][2]string{{"takes back", revert.TrailerOf}, {"restores", revert.TrailerRestores}} {
			for _, commit := range c.Trailers[about[1]] {
				facts = append(facts, about[0]+" "+view.ShortCommit(commit))
			}
		}
		facts = slices.DeleteFunc(facts, func(s string) bool { return s == "" })
		if c.Why != "" {
			fmt.Fprintf(&out, "  %s\n", view.Clean(c.Why))
		}
		fmt.Fprintf(&out, "  %s\n", view.Clean(strings.Join(facts, ", ")))
	}
	return out.String()
}

// localLog reads a clone with the git binary, merged branches included.
func (a *app) localLog(ctx context.Context, o *changelogOptions) ([]git.Commit, error) {
	revision := "HEAD"
	if o.branch != "" {
		revision = o.branch
	}
	if strings.HasPrefix(revision, "-") {
		return nil, fmt.Errorf("--branch=%s: not a branch", revision)
	}
	command := exec.CommandContext(ctx, "git", "-C", o.dir, "log", "-z", "--no-show-signature", "--max-count="+strconv.Itoa(o.limit),
		"--format=%H%n%ct%n%P%n%B", "--end-of-options", revision, "--")
	command.Env = append(os.Environ(), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	var said bytes.Buffer
	command.Stderr = &said
	raw, err := command.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("reading %s: the git command is not there", o.dir)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w: %s", o.dir, err, view.Clean(strings.TrimSpace(said.String())))
	case len(raw) > maxGitOutput:
		return nil, fmt.Errorf("reading %s: the log is above %d bytes: use --limit", o.dir, maxGitOutput)
	}
	var out []git.Commit
	for record := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\x00"), "\x00") {
		parts := strings.SplitN(record, "\n", 4)
		if len(parts) != 4 {
			continue
		}
		seconds, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading %s: commit %s has no time", o.dir, parts[0])
		}
		subject, _, _ := strings.Cut(parts[3], "\n")
		out = append(out, git.Commit{SHA: parts[0], Time: time.Unix(seconds, 0), Message: parts[3], Subject: subject})
	}
	return out, nil
}

// remoteLog reads the branch of a Repository with its own credentials.
func (a *app) remoteLog(ctx context.Context, o *changelogOptions) ([]git.Commit, error) {
	c, namespace, err := a.connect()
	if err != nil {
		return nil, err
	}
	repo, err := pickRepository(ctx, c, namespace, o.repository)
	if err != nil {
		return nil, err
	}
	remote := git.Remote{URL: repo.Spec.URL, Branch: repo.Spec.Ref.Branch}
	if o.branch != "" {
		remote.Branch = o.branch
	}
	if ref := repo.Spec.SecretRef; ref != nil {
		var secret corev1.Secret
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &secret); err != nil {
			return nil, fmt.Errorf("reading the credentials of Repository %s (a local clone needs none: --dir): %w", repo.Name, err)
		}
		if remote.Auth, err = git.AuthFromSecret(repo.Spec.URL, secret.Data); err != nil {
			return nil, fmt.Errorf("Secret %q: %w", ref.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fetched, err := remote.Fetch(ctx, o.limit)
	if err != nil {
		return nil, fmt.Errorf("Repository %s: %w", repo.Name, err)
	}
	return reachable(fetched, o.limit), nil
}

func pickRepository(ctx context.Context, c client.Client, namespace, name string) (*v1alpha1.Repository, error) {
	if name != "" {
		repo := &v1alpha1.Repository{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, repo); err != nil {
			return nil, fmt.Errorf("reading Repository %s/%s: %w", namespace, name, err)
		}
		return repo, nil
	}
	var all v1alpha1.RepositoryList
	if err := c.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing Repositories: %w", err)
	}
	if len(all.Items) != 1 {
		return nil, fmt.Errorf("namespace %s has %d Repositories: say which with --repository, or --dir for a local clone", namespace, len(all.Items))
	}
	return &all.Items[0], nil
}

// reachable are the commits that were fetched, newest first, merged branches included.
func reachable(repo *git.Repo, limit int) []git.Commit {
	seen := map[string]bool{}
	var out []git.Commit
	for todo := []string{repo.Head()}; len(todo) > 0 && len(out) < limit; {
		sha := todo[0]
		todo = todo[1:]
		if seen[sha] {
			continue
		}
		seen[sha] = true
		commit, err := repo.Commit(sha)
		if err != nil {
			continue // before what was fetched
		}
		out = append(out, commit)
		todo = append(todo, commit.Parents...)
	}
	slices.SortStableFunc(out, func(a, b git.Commit) int { return b.Time.Compare(a.Time) })
	return out
}
