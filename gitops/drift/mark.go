package drift

import (
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mark is what of an object's metadata changes when a declared field does. It is 16 bytes instead of the object.
type Mark struct {
	// Own changes when a field of ours is taken over or removed, or when somebody applies in our name. 0: we own nothing.
	Own uint64
	// Wide changes with everything but status: with the generation (the resourceVersion, for kinds that have none), labels
	// and annotations. It is needed where a field is already somebody else's: another change of theirs leaves Own, and even
	// the time of their entry (kubernetes#81673), as it was.
	Wide uint64
}

// MarkOf reads the mark from an object's metadata.
func MarkOf(o metav1.Object, manager string) Mark {
	return Mark{Own: ownMark(o.GetManagedFields(), manager), Wide: wideMark(o)}
}

func ownMark(entries []metav1.ManagedFieldsEntry, manager string) uint64 {
	for _, e := range entries {
		if e.Manager != manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" {
			continue
		}
		hash := fnv.New64a()
		write(hash, e.APIVersion)
		if e.Time != nil {
			write(hash, strconv.FormatInt(e.Time.Unix(), 10))
		}
		if e.FieldsV1 != nil {
			_, _ = hash.Write(e.FieldsV1.GetRawBytes())
		}
		return max(hash.Sum64(), 1)
	}
	return 0
}

func wideMark(o metav1.Object) uint64 {
	hash := fnv.New64a()
	if generation := o.GetGeneration(); generation > 0 {
		write(hash, strconv.FormatInt(generation, 10))
	} else {
		write(hash, o.GetResourceVersion())
	}
	for _, m := range []map[string]string{o.GetLabels(), o.GetAnnotations()} {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			write(hash, key)
			write(hash, m[key])
		}
		write(hash, "")
	}
	return hash.Sum64()
}

func write(hash interface{ Write([]byte) (int, error) }, text string) {
	_, _ = hash.Write([]byte(text))
	_, _ = hash.Write([]byte{0})
}
