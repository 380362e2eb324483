package sync

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// RecordsName is the Secret, one in each namespace with Syncs, that keeps overwritten values.
	RecordsName = "belay-drift-records"
	// maxRecords is how many are kept, and maxRecordBytes how much: the oldest go.
	maxRecords     = 64
	maxRecordBytes = 512 << 10
	// maxRecord is the largest value that is kept. What is larger is not overwritten.
	maxRecord = 128 << 10
)

// Record is a value that was overwritten.
type Record struct {
	// Version of this form: 1.
	Version    int                   `json:"version"`
	Sync       string                `json:"sync"`
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Namespace  string                `json:"namespace,omitempty"`
	Name       string                `json:"name"`
	UID        string                `json:"uid"`
	At         metav1.Time           `json:"at"`
	Class      string                `json:"class"`
	Writer     *v1alpha1.DriftWriter `json:"writer,omitempty"`
	Commit     string                `json:"commit,omitempty"`
	File       string                `json:"file,omitempty"`
	Fields     []RecordedField       `json:"fields"`
}

// RecordedField is a field as it was before it was overwritten.
type RecordedField struct {
	// Path for people.
	Path string `json:"path"`
	// Elements of the path, in the form of managedFields ("f:spec", `k:{"name":"app"}`).
	Elements []string `json:"elements"`
	// Live is the value that was overwritten; Absent: there was none.
	Live   any  `json:"live,omitempty"`
	Absent bool `json:"absent,omitempty"`
}

// keep records what the findings that are corrected overwrite, before anything is; and has the writes that follow made
// only over what was recorded.
func (r *Reconciler) keep(ctx context.Context, sync *v1alpha1.Sync, findings []*finding) error {
	fresh := map[string][]byte{}
	for _, f := range findings {
		if f.held() || f.item.Live == nil || len(f.fields) == 0 {
			continue
		}
		raw, err := json.Marshal(r.recordOf(sync, f))
		if err == nil {
			raw, err = zip(raw)
		}
		if err != nil {
			return fmt.Errorf("recording what %s was: %w", name(f.item.Entry), err)
		}
		if len(raw) > maxRecord {
			return &failure{reason: ReasonDriftTooLarge, stalled: true, message: fmt.Sprintf(
				"%s is not as Git declares it, and is left so: what would be overwritten is larger than the %d KiB that are kept; take it away by hand, or set spec.drift.mode to Detect", name(f.item.Entry), maxRecord>>10)}
		}
		f.record = fmt.Sprintf("%s.%s", r.now().UTC().Format("20060102-150405"), f.digest)
		fresh[f.record] = raw
		f.item.Desired = pinned(f.item.Desired.DeepCopy(), f.item.Live)
	}
	if len(fresh) == 0 {
		return nil
	}
	return r.store(ctx, sync.Namespace, fresh)
}

func (r *Reconciler) recordOf(sync *v1alpha1.Sync, f *finding) Record {
	live := f.item.Live
	record := Record{Version: 1, Sync: sync.Name, APIVersion: live.GetAPIVersion(), Kind: live.GetKind(), Namespace: live.GetNamespace(), Name: live.GetName(),
		UID: string(live.GetUID()), At: metav1.NewTime(r.now()), Class: string(f.class), Writer: f.writer(), Commit: sync.Status.AppliedCommit, File: f.item.File}
	for _, field := range f.fields {
		out := RecordedField{Path: field.Path.String(), Live: field.Live, Absent: field.Live == nil}
		for _, element := range field.Path {
			text, err := fieldpath.SerializePathElement(element)
			if err != nil {
				text = element.String() // it still says what it was
			}
			out.Elements = append(out.Elements, text)
		}
		record.Fields = append(record.Fields, out)
	}
	return record
}

// store adds records to the Secret. One that is there already, from before a crash or since the same was overwritten before, is not
// kept twice: it gets its new time, since the oldest go.
func (r *Reconciler) store(ctx context.Context, namespace string, fresh map[string][]byte) error {
	for try := 1; ; try++ {
		err := r.storeOnce(ctx, namespace, fresh)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) || try == 5 {
			return fmt.Errorf("recording what is about to be overwritten: %w", err)
		}
	}
}

func (r *Reconciler) storeOnce(ctx context.Context, namespace string, fresh map[string][]byte) error {
	// Secrets are not listed or watched, so neither reads nor writes may wait for a cache of them.
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: RecordsName}, secret)
	if apierrors.IsNotFound(err) {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RecordsName}, Type: "belay.dev/drift-records"}
		secret.Data = fresh
		return r.Client.Create(ctx, secret, client.DisableReadYourWritesConsistency)
	}
	if err != nil {
		return err
	}
	base := secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	add(secret.Data, fresh)
	if equality.Semantic.DeepEqual(base.Data, secret.Data) {
		return nil
	}
	return r.Client.Patch(ctx, secret, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), client.DisableReadYourWritesConsistency)
}

// add puts records to those that are kept, in the place of what holds the same, and lets the oldest go.
func add(data, fresh map[string][]byte) {
	for key := range fresh {
		for kept := range data {
			if SameRecord(kept, key) {
				delete(data, kept)
			}
		}
	}
	maps.Copy(data, fresh)
	bound(data, fresh)
}

// SameRecord says that two names are of one record, which has another time since it was overwritten again.
func SameRecord(a, b string) bool {
	_, x, _ := strings.Cut(a, ".")
	_, y, _ := strings.Cut(b, ".")
	return x == y && x != ""
}

// bound lets the oldest records go; their keys begin with their time.
func bound(data, fresh map[string][]byte) {
	size := 0
	for _, raw := range data {
		size += len(raw)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if len(data) <= maxRecords && size <= maxRecordBytes {
			return
		}
		if _, young := fresh[key]; !young {
			size -= len(data[key])
			delete(data, key)
		}
	}
}

// ReadRecord reads a record from the Secret.
func ReadRecord(raw []byte) (Record, error) {
	var record Record
	reader, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return record, fmt.Errorf("reading record: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(reader, 16<<20))
	if err := cmp.Or(err, reader.Close()); err != nil {
		return record, fmt.Errorf("reading record: %w", err)
	}
	if err := json.Unmarshal(plain, &record); err != nil {
		return record, fmt.Errorf("reading record: %w", err)
	}
	if record.Version != 1 {
		return record, fmt.Errorf("reading record: its form %d is not known to this version, which knows 1", record.Version)
	}
	return record, nil
}

func zip(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
