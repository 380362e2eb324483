package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

var errInjected = errors.New("injected by the test")

// variant is how a controller is cut off at a write.
type variant string

const (
	notSent  variant = "not sent"
	unacked  variant = "sent but an error returned"
	rebuilt  variant = "sent and the controller killed"
	noFault  variant = ""
	anyWrite         = -1
)

// record stands between the controller and the API server: it notes every effect, and injects faults.
type record struct {
	w  *world
	mu sync.Mutex

	effects []string
	reads   int
	// kind of crash, at the write of this number.
	fault variant
	at    int
	hit   bool
	dead  bool
	// refuse a write, as a webhook would, by its effect.
	refuse  func(effect string) error
	refused int
	// onRollout is called before the controller reads the Rollout.
	onRollout func()
}

func newRecord(w *world) *record { return &record{w: w, at: anyWrite} }

func (r *record) client() client.Client {
	inner := countedClient(r.w.t, r.w.env.Config, r.w.env.Scheme)
	return interceptor.NewClient(inner, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := r.read(); err != nil {
				return err
			}
			if _, ok := o.(*v1alpha1.Rollout); ok && r.onRollout != nil {
				r.onRollout()
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if err := r.read(); err != nil {
				return err
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return r.write(r.effect("create", o, ""), func() error { return c.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return r.write(r.effect("delete", o, ""), func() error { return c.Delete(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return r.write(r.effect("update", o, ""), func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return r.write(r.patch("patch", o, p), func() error { return c.Patch(ctx, o, p, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, in client.Object, opts ...client.SubResourceCreateOption) error {
			return r.write(r.effect("create "+sub+" of", o, ""), func() error { return c.SubResource(sub).Create(ctx, o, in, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return r.write(r.effect("update "+sub+" of", o, ""), func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return r.write(r.patch("patch "+sub+" of", o, p), func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

func (r *record) read() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	if r.dead {
		return errInjected
	}
	return nil
}

// write notes an effect, sends it unless a fault says otherwise, and checks the invariants.
func (r *record) write(effect string, send func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return errInjected
	}
	if r.refuse != nil {
		if err := r.refuse(effect); err != nil {
			r.refused++
			return err
		}
	}
	r.effects = append(r.effects, effect)
	struck := r.fault != noFault && len(r.effects)-1 == r.at && !r.hit
	if struck {
		r.hit = true
	}
	if struck && r.fault == notSent {
		return errInjected
	}
	err := send()
	if err == nil {
		r.w.check(effect)
	}
	if struck {
		r.dead = r.fault == rebuilt
		return errInjected
	}
	return err
}

func (r *record) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.effects) + r.refused
}

// expected: the test has caused errors.
func (r *record) expected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hit || r.refused > 0
}

// crashed says once that the controller was killed.
func (r *record) crashed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.dead
	r.dead = false
	return was
}

// strike prepares a fault, and forgets what was.
func (r *record) strike(v variant, at int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.effects, r.fault, r.at, r.hit, r.dead = nil, v, at, false, false
}

func (r *record) forget() { r.strike(noFault, anyWrite) }

func (r *record) text(from int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.effects[min(from, len(r.effects)):], "\n") + "\n"
}

func (r *record) refusing(f func(effect string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

func (r *record) kind(o client.Object) schema.GroupVersionKind {
	gvk, err := apiutil.GVKForObject(o, r.w.env.Scheme)
	if err != nil {
		r.w.t.Error(err)
	}
	return gvk
}

var (
	clocks    = regexp.MustCompile(`\d\d:\d\d:\d\d UTC`)
	podSuffix = regexp.MustCompile(`(app-\w+)-[a-z0-9]{5}\b`)
	version   = regexp.MustCompile(`"resourceVersion":"\d+",?`)
)

// effect is what a write does, in short and without what differs from run to run.
func (r *record) effect(verb string, o client.Object, what string) string {
	kind := r.kind(o).Kind
	switch x := o.(type) {
	case *appsv1.ReplicaSet:
		if verb == "create" {
			what = fmt.Sprintf("replicas=%d role=%s", *x.Spec.Replicas, x.Spec.Template.Labels[v1alpha1.LabelRole])
		}
	case *v1alpha1.Rollout:
		if what == "" {
			what = statusText(&x.Status)
		}
	}
	s := fmt.Sprintf("%s %s %s %s", verb, kind, o.GetName(), what)
	s = podSuffix.ReplaceAllString(s, "$1-*")
	s = clocks.ReplaceAllString(s, "<time>")
	s = strings.ReplaceAll(s, r.w.ns, "<namespace>")
	return strings.TrimSpace(r.w.alias.in(s))
}

func statusText(s *v1alpha1.RolloutStatus) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if a := s.Attempt; a != nil {
		add("attempt=%d/%s", a.Number, a.Stage)
		if a.StepName != "" {
			add("step=%s", a.StepName)
		}
		add("weight=%d", a.Weight)
		if a.AcceptedAt != nil {
			add("accepted")
		}
		if a.ConfirmedAt != nil {
			add("confirmed")
		}
		if a.Verdict != nil {
			add("verdict=%s/%s", a.Verdict.Outcome, a.Verdict.Reason)
		}
	}
	for name, rec := range map[string]*v1alpha1.RevisionRecord{"stable": s.Stable, "previous": s.Previous} {
		if rec != nil {
			add("%s=%s", name, rec.Revision)
		}
	}
	if len(s.History) > 0 {
		add("last=%s", s.History[0].Outcome)
	}
	if len(s.Quarantine) > 0 {
		add("quarantine=%d", len(s.Quarantine))
	}
	if s.Revert != nil {
		add("revert=%s of %s", s.Revert.State, s.Revert.Bad)
	}
	add("pods=%d/%d", s.AvailableReplicas, s.Replicas)
	slices.Sort(out)
	return strings.Join(append(out, fmt.Sprintf("blocked=%q", s.BlockedBy)), " ")
}

// patch is the effect of a patch.
func (r *record) patch(verb string, o client.Object, p client.Patch) string {
	data, err := p.Data(o)
	if err != nil {
		r.w.t.Error(err)
	}
	if r.kind(o).Kind == "HTTPRoute" {
		return r.effect(verb, o, routeText(data))
	}
	if d, ok := o.(*v1alpha1.Decision); ok {
		return r.effect(verb, o, string(d.Status.Result)+": "+d.Status.Message)
	}
	text := version.ReplaceAllString(string(data), "")
	return r.effect(verb, o, strings.ReplaceAll(text, `"metadata":{},`, ""))
}

func routeText(data []byte) string {
	var ops []struct {
		Op, Path string
		Value    any
	}
	if err := json.Unmarshal(data, &ops); err != nil {
		return err.Error()
	}
	var out []string
	for _, op := range ops {
		path := strings.TrimPrefix(op.Path, "/spec/rules/")
		value, _ := json.Marshal(op.Value)
		switch {
		case op.Op == "test":
			continue
		case strings.HasPrefix(op.Path, "/metadata/annotations"):
			path, value = "record", nil
		case op.Op == "remove":
			value = nil
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", op.Op, path, value)))
	}
	return strings.Join(out, ", ")
}

// golden compares with testdata/<name>.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("effects differ from %s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}
