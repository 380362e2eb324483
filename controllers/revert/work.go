package revert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/gitops/forge"
	"github.com/belay-delivery/belay/gitops/git"
	"github.com/belay-delivery/belay/gitops/revert"
)

// depths are how many commits are fetched, the next one when the last was not enough.
var depths = []int{50, 500, 2000}

const (
	// searched is how many commits the bad and the good one are looked for in; more are only looked through for reverts.
	searched = 500
	// skew is how far the clocks of those who commit may be off, and odd how many commits may be further off than that.
	skew = 5 * time.Minute
	odd  = 4
)

// finding is how far a revert got.
type finding struct {
	state                         v1alpha1.RevertState
	badCommit, goodCommit, commit string
	why                           string
	pull                          *v1alpha1.PullRequest
	// doubt is why a change may only be proposed: it would touch more than the workload, or undo edits of others.
	doubt string
	// until is when a Suspended revert goes on.
	until time.Time
	// triedWith is what it was tried with.
	triedWith string
}

// request is everything that determines a revert; all of it was stored before.
type request struct {
	id      string
	attempt int64
	where   revert.Where
	bad     string
	good    string
	hint    string   // a commit that declared good when it was looked at
	applied []string // see revert.Input
	author  v1alpha1.GitAuthor
	message revert.MessageInput
	at      time.Time
	// perHour bounds the reverts of one workload; now is when that is asked.
	perHour int
	now     time.Time
}

// branch is a fetched branch with its history along first parents.
type branch struct {
	repo      *git.Repo
	head      string
	log       []git.Commit
	truncated bool
	// most says that more history cannot be had.
	most bool
}

// newest is the part of the history in which the bad and the good commit are looked for.
func (b branch) newest() []git.Commit { return b.log[:min(len(b.log), searched)] }

// reaches says that the history goes back to a time.
func (b branch) reaches(since time.Time) bool {
	if !b.truncated {
		return true
	}
	for _, commit := range b.log[max(0, len(b.log)-1-odd):] {
		if !commit.Time.Before(since.Add(-skew)) {
			return false
		}
	}
	return true
}

// needed is how far back the history must go for a revert: over the hour whose reverts are counted, and where the bad revision was
// brought in after the revert was asked for, perhaps on top of it, to that time.
func (r request) needed(bad git.Commit) time.Time {
	hour := r.now.Add(-time.Hour)
	if bad.Time.After(r.at.Add(-skew)) && r.at.Before(hour) {
		return r.at
	}
	return hour
}

// errDeeper says that the history fetched is too short to tell.
var errDeeper = errors.New("history is too short")

// access is how a branch is read and written.
type access struct {
	source      *repository.Source
	read, write git.Remote
	timeout     time.Duration
	strategy    v1alpha1.RevertStrategy
	// forge opens pull requests; forgeProblem says why it cannot.
	forge        forge.Forge
	forgeProblem error
	// sign signs commits; nil: they are not signed.
	sign func([]byte) (string, error)
	// accepts says why a head is not to be built on.
	accepts func(ctx context.Context, head string) error
	// with stands for what the branch is written with, see writtenWith.
	with string
}

// accepted holds that a revert is built only on what spec.verify lets come into force: its own signature would vouch for what is
// beneath it.
func (a access) accepted(ctx context.Context, head string) error {
	if a.accepts == nil {
		return nil
	}
	if err := a.accepts(ctx, head); err != nil {
		return fmt.Errorf("no revert is made on top of what spec.verify refuses: %w", err)
	}
	return nil
}

func (a access) fetch(ctx context.Context, depth int) (branch, error) {
	repo, err := a.source.Fetch(ctx, a.read, depth, a.timeout)
	if err != nil {
		return branch{}, err
	}
	log, truncated, err := repo.Log(repo.Head(), depth)
	if err != nil {
		return branch{}, fmt.Errorf("reading history: %w", err)
	}
	return branch{repo: repo, head: repo.Head(), log: log, truncated: truncated, most: !truncated || depth == depths[len(depths)-1]}, nil
}

// deeper fetches more history than there is, where there is more and it is not too large.
func (a access) deeper(ctx context.Context, b branch, depth int) (branch, error) {
	more, err := a.fetch(ctx, depth)
	if errors.Is(err, git.ErrTooLarge) && b.repo != nil {
		b.most = true
		return b, nil
	}
	return more, err
}

// overHour fetches the newest commits, and at least those of the hour.
func (a access) overHour(ctx context.Context, now time.Time) (b branch, err error) {
	for _, depth := range depths {
		if b, err = a.deeper(ctx, b, depth); err != nil || b.most || b.reaches(now.Add(-time.Hour)) {
			return b, err
		}
	}
	return b, nil
}

// try makes one try at the revert: ErrStale and ErrOutcomeUnknown mean that another one is due at once.
func (a access) try(ctx context.Context, r request) (finding, error) {
	var b branch
	for _, depth := range depths {
		var err error
		if b, err = a.deeper(ctx, b, depth); err != nil {
			return finding{}, err
		}
		f, changes, err := b.compose(r)
		if errors.Is(err, errDeeper) {
			continue
		}
		if err != nil || changes == nil {
			return f, err
		}
		if err := a.accepted(ctx, b.head); err != nil {
			return finding{}, err
		}
		return a.push(ctx, b, r, f, changes)
	}
	return finding{}, errDeeper // not reached: the last depth decides
}

// compose decides what the branch needs: a finding, and the changes where there is something to push; errDeeper where more history
// has to be seen first.
func (b branch) compose(r request) (finding, map[string]*[]byte, error) {
	last := b.most || len(b.log) >= searched
	f, declared, err := b.look(r)
	if err != nil || f.state != "" {
		return f, nil, err
	}
	switch astray, err := b.astray(r, declared); {
	case err != nil:
		return finding{}, nil, err
	case astray && !last:
		return finding{}, nil, errDeeper
	case astray:
		return conflict(finding{}, fmt.Sprintf("none of the newest %d commits has the values of revision %s: is the mapping in onFailure.revert.values right?", len(b.newest()), r.bad)), nil, nil
	case declared != r.bad:
		return finding{state: v1alpha1.RevertNotNeeded, why: describe(declared, b.head)}, nil, nil
	}
	bad, good, err := b.find(r)
	if err == nil && good == "" {
		err = errDeeper
	}
	if errors.Is(err, errDeeper) && last {
		return conflict(finding{badCommit: bad.SHA}, fmt.Sprintf("no commit with revision %s was found before %s among the newest %d of the branch",
			r.good, short(bad.SHA), len(b.newest()))), nil, nil
	}
	if err != nil {
		return finding{}, nil, err
	}
	f = finding{badCommit: bad.SHA, goodCommit: good}
	if b.isRevert(bad) {
		return conflict(f, fmt.Sprintf("commit %s, which brought the bad revision, is itself a revert: reverts are not reverted", short(bad.SHA))), nil, nil
	}
	since := r.needed(bad)
	if !b.reaches(since) {
		if !b.most {
			return finding{}, nil, errDeeper
		}
		f.doubt = fmt.Sprintf("the newest %d commits of the branch do not reach back to %s: whether it was made already, or write.maxRevertsPerHour are, cannot be told",
			len(b.log), since.UTC().Format(time.RFC3339))
	}
	if until, full := b.full(r); full {
		f.state, f.until = v1alpha1.RevertSuspended, until
		f.why = fmt.Sprintf("%d reverts of this workload were committed within an hour, as many as write.maxRevertsPerHour allows: waiting until %s; something keeps bringing bad revisions",
			r.perHour, until.UTC().Format(time.RFC3339))
		return f, nil, nil
	}
	return b.change(r, f)
}

// isRevert says that a commit is a revert, or merged one.
func (b branch) isRevert(commit git.Commit) bool {
	if revert.ParseTrailers(commit.Message)[revert.TrailerID] != nil {
		return true
	}
	for _, sha := range commit.Parents[min(1, len(commit.Parents)):] {
		if merged, err := b.repo.Commit(sha); err == nil && revert.ParseTrailers(merged.Message)[revert.TrailerID] != nil {
			return true
		}
	}
	return false
}

// full says that this workload has used up its reverts of the hour, and until when. What is counted stands in Git, so
// that no crash forgets it.
func (b branch) full(r request) (until time.Time, full bool) {
	count := 0
	for _, commit := range b.log { // newest first
		trailers := revert.ParseTrailers(commit.Message)
		if trailers[revert.TrailerID] == nil || !has(trailers[revert.TrailerWorkload], r.where.Workload.Trailer()) || r.now.Sub(commit.Time) >= time.Hour {
			continue
		}
		if count++; count == r.perHour {
			return commit.Time.Add(time.Hour), true
		}
	}
	return time.Time{}, false
}

// look finds this revert in the history, or what the head declares now.
func (b branch) look(r request) (finding, string, error) {
	for _, commit := range b.log {
		if r.made(commit) {
			return finding{state: v1alpha1.RevertPushed, commit: commit.SHA, why: "the revert is in Git"}, "", nil
		}
	}
	tree, err := b.repo.Tree(b.head)
	if err != nil {
		return finding{}, "", fmt.Errorf("reading head: %w", err)
	}
	declared, err := r.where.RevisionAt(tree)
	if err != nil {
		what := "head cannot be rendered: "
		if r.where.Path == "" {
			what = "head does not say what runs: "
		}
		return conflict(finding{}, what+err.Error()), "", nil
	}
	return finding{}, declared, nil
}

// astray says that the values at head are of no known revision, and that no commit before it has those of the bad one: not Git has
// moved on, but the mapping is wrong.
func (b branch) astray(r request, declared string) (bool, error) {
	if declared != revert.Elsewhere {
		return false, nil
	}
	_, found, err := revert.History{Log: b.newest(), TreeOf: b.repo.Tree}.Newest(r.where, r.bad)
	if err != nil {
		return false, fmt.Errorf("looking for the bad commit: %w", err)
	}
	return !found, nil
}

// made says that a commit is the revert of this very attempt.
func (r request) made(commit git.Commit) bool {
	trailers := revert.ParseTrailers(commit.Message)
	return has(trailers[revert.TrailerID], r.id) && has(trailers[revert.TrailerAttempt], fmt.Sprint(r.attempt))
}

func has(values []string, wanted string) bool { return len(values) == 1 && values[0] == wanted }

// find returns the commit that brought the bad revision and the newest one before it that declares the good one.
func (b branch) find(r request) (git.Commit, string, error) {
	history := revert.History{Log: b.newest(), TreeOf: b.repo.Tree}
	bad, certain, err := history.Introduced(r.where, r.bad)
	if err != nil {
		return bad, "", fmt.Errorf("looking for the bad commit: %w", err)
	}
	if !certain {
		return bad, "", errDeeper
	}
	for i, commit := range b.newest() {
		if commit.SHA == bad.SHA {
			history.Log = b.newest()[i+1:]
		}
	}
	good, found, err := history.Newest(r.where, r.good)
	if err != nil || found {
		return bad, good.SHA, err
	}
	return bad, b.hinted(r), nil
}

// hinted is the commit noted in status, where it was fetched (a merged branch's, say) and declares the good revision.
func (b branch) hinted(r request) string {
	if r.hint == "" {
		return ""
	}
	tree, err := b.repo.Tree(r.hint)
	if err != nil {
		return ""
	}
	if declared, err := r.where.RevisionAt(tree); err != nil || declared != r.good {
		return ""
	}
	return r.hint
}

func (b branch) change(r request, f finding) (finding, map[string]*[]byte, error) {
	in := revert.Input{Path: r.where.Path, Workload: r.where.Workload, GoodRevision: r.good, BadRevision: r.bad, Values: r.where.Values, Known: r.where.Known,
		Applied: r.applied}
	var err error
	if in.Head, err = b.repo.Tree(b.head); err != nil {
		return finding{}, nil, fmt.Errorf("reading head: %w", err)
	}
	if in.Bad, err = b.repo.Tree(f.badCommit); err != nil {
		return finding{}, nil, fmt.Errorf("reading bad commit: %w", err)
	}
	if in.Good, err = b.repo.Tree(f.goodCommit); err != nil {
		return finding{}, nil, fmt.Errorf("reading good commit: %w", err)
	}
	result, err := revert.Compose(in)
	if err != nil {
		return conflict(f, err.Error()), nil, nil
	}
	switch result.Outcome {
	case revert.Changes:
		return f, result.Changes, nil
	case revert.AlreadyResolved:
		f.state, f.why = v1alpha1.RevertNotNeeded, result.Why
		return f, nil, nil
	}
	if result.Proposal != nil {
		if f.doubt != "" {
			result.Why += "; " + f.doubt
		}
		f.doubt = result.Why
		return f, result.Proposal, nil
	}
	return conflict(f, result.Why), nil, nil
}

// push carries a composed revert to the branch, or to people.
func (a access) push(ctx context.Context, b branch, r request, f finding, changes map[string]*[]byte) (finding, error) {
	if f.doubt != "" && (a.strategy == v1alpha1.StrategyPush || a.forgeProblem != nil) {
		return conflict(f, f.doubt), nil
	}
	p, err := a.commit(b, r, f, changes)
	if err != nil {
		return conflict(f, err.Error()), nil
	}
	if f.doubt != "" {
		p.why = "not pushed, because it needs a person's look: " + f.doubt
		return a.propose(ctx, b, r, f, p)
	}
	if a.strategy == v1alpha1.StrategyPullRequest {
		p.why = "reverts of this workload go through pull requests"
		return a.propose(ctx, b, r, f, p)
	}
	err = a.pushBranch(ctx, b, p)
	var rejected *git.RejectedError
	switch {
	case errors.As(err, &rejected):
		what := "the Git server refused the push: "
		if rejected.Protected() {
			what = fmt.Sprintf("branch %q is protected: ", a.write.Branch)
		}
		p.why = what + rejected.Reason
		if a.strategy == v1alpha1.StrategyPush {
			f.state, f.why = v1alpha1.RevertRejected, p.why
			return f, nil
		}
		return a.propose(ctx, b, r, f, p)
	case err != nil:
		return f, err
	}
	return r.pushed(f, p.commit), nil
}

// commit makes the commit, which stays in this process until it is pushed.
func (a access) commit(b branch, r request, f finding, changes map[string]*[]byte) (proposal, error) {
	r.message.BadCommit, r.message.GoodCommit, r.message.RetryOf = f.badCommit, f.goodCommit, b.retried(r)
	p := proposal{base: b.head, message: revert.Message(r.message)}
	var err error
	p.commit, err = b.repo.Write(p.base, changes, git.CommitOptions{
		Message: p.message, AuthorName: r.author.Name, AuthorEmail: r.author.Email, When: r.at, Sign: a.sign,
	})
	return p, err
}

// retried is the id of the newest revert of the same revision: it was tried again on purpose, since a revision that failed is not
// started again by itself.
func (b branch) retried(r request) string {
	for _, commit := range b.log { // newest first
		if id := revert.EarlierID(commit.Message, r.where.Workload, r.bad); id != "" {
			return id
		}
	}
	return ""
}

func (r request) pushed(f finding, commit string) finding {
	f.state, f.commit = v1alpha1.RevertPushed, commit
	f.why = fmt.Sprintf("commit %s takes revision %s back to %s", commit, r.bad, r.good)
	return f
}

func (a access) pushBranch(ctx context.Context, b branch, p proposal) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return a.write.Push(ctx, b.repo, p.base, p.commit)
}

// watch looks whether the head still declares the bad revision, for a revert that waits for a person. A state of ""
// means that it does.
func (a access) watch(ctx context.Context, r request) (finding, error) {
	b, err := a.fetch(ctx, depths[0])
	if err != nil {
		return finding{}, err
	}
	f, declared, err := b.look(r)
	if err != nil || f.state == v1alpha1.RevertPushed {
		return f, err
	}
	if f.state != "" || declared == r.bad {
		return finding{}, nil
	}
	if astray, err := b.astray(r, declared); err != nil || astray {
		return finding{}, err
	}
	return finding{state: v1alpha1.RevertNotNeeded, why: describe(declared, b.head)}, nil
}

// known finds the newest commit that declares a revision.
func (a access) known(ctx context.Context, r request) (string, error) {
	b, err := a.fetch(ctx, depths[0])
	if err != nil {
		return "", err
	}
	found, _, err := revert.History{Log: b.log, TreeOf: b.repo.Tree}.Newest(r.where, r.good)
	return found.SHA, err
}

func conflict(f finding, why string) finding {
	f.state, f.why = v1alpha1.RevertConflict, why
	return f
}

func describe(declared, head string) string {
	switch declared {
	case revert.Elsewhere:
		return fmt.Sprintf("the values at commit %s are those of another revision", short(head))
	case "":
		return fmt.Sprintf("commit %s no longer declares the workload", short(head))
	}
	return fmt.Sprintf("commit %s declares revision %s", short(head), declared)
}

func short(commit string) string { return commit[:min(len(commit), 12)] }
