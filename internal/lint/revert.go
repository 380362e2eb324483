package lint

import (
	"fmt"
	"path"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
)

func (b *bundle) checkRevert(r typed[v1alpha1.Rollout]) []Finding {
	spec := r.v.Spec.OnFailure.Revert
	if spec == nil {
		return nil
	}
	return append(b.checkValues(r, spec), b.checkWritable(r, spec)...)
}

func (b *bundle) checkWritable(r typed[v1alpha1.Rollout], spec *v1alpha1.Revert) []Finding {
	if len(b.repositories) == 0 {
		return nil
	}
	const path = "spec.onFailure.revert.repository"
	repository, ok := find(b.repositories, r.document, spec.Repository)
	switch {
	case !ok:
		return []Finding{r.warnf(path, "add it, or make sure that it is in the cluster", "Repository %q is not in these files", spec.Repository)}
	case repository.v.Spec.Write == nil:
		return []Finding{r.errorf(path, fmt.Sprintf("set spec.write in Repository %s, or take revert out", spec.Repository),
			"Repository %q may not be written to, so nothing can be reverted", spec.Repository)}
	}
	return nil
}

// checkValues holds the places of values against the pod template, and against those of the other Rollouts.
func (b *bundle) checkValues(r typed[v1alpha1.Rollout], own *v1alpha1.Revert) []Finding {
	var out []Finding
	template, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&r.v.Spec.Template)
	if err != nil {
		return nil // the schema has refused it
	}
	for i, v := range revert.ValuesOf(own) {
		at := fmt.Sprintf("spec.onFailure.revert.values[%d]", i)
		declared, err := v.In(template)
		switch {
		case err != nil && v.Container != "":
			out = append(out, r.errorf(at+".container", "name a container of spec.template", "%s", err))
		case err != nil:
			out = append(out, r.errorf(at+".field", "name a single value", "%s", err))
		case declared == "" && v.Field != "":
			out = append(out, r.warnf(at+".field", "check the path, or set the field", "spec.template does not have field %s", v.Field))
		}
		for _, other := range b.rollouts {
			if spec := other.v.Spec.OnFailure.Revert; spec != nil && other.object != r.object && shares(spec, own, v.File, v.Path) {
				out = append(out, r.warnf(at, "give each a value of its own",
					"Rollout %s names the same place: a revert of one takes the other back too", other.object.GetName()))
			}
		}
	}
	return out
}

func shares(other, own *v1alpha1.Revert, file, at string) bool {
	if other.Repository != own.Repository {
		return false
	}
	for _, v := range other.Values {
		if path.Clean(v.File) == path.Clean(file) && v.Path == at {
			return true
		}
	}
	return false
}
