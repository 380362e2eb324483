// Command image writes an OCI archive of one static program, under one or more names, for `ctr images import`.
//
//	image OUT.tar PROGRAM NAME…
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

type object = map[string]any

// archive is an OCI image layout in a tar file.
type archive struct{ *tar.Writer }

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: image OUT.tar PROGRAM NAME…")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(out, program string, names []string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	var layer bytes.Buffer
	files := archive{tar.NewWriter(&layer)}
	if err := files.add("app", 0o755, content); err != nil {
		return err
	}
	if err := files.Close(); err != nil {
		return fmt.Errorf("writing the layer: %w", err)
	}
	file, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	a := archive{tar.NewWriter(file)}
	if err := a.image(layer.Bytes(), names); err != nil {
		return err
	}
	if err := a.Close(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return file.Close()
}

func (a archive) image(layer []byte, names []string) error {
	diff, err := a.blob("application/vnd.oci.image.layer.v1.tar", layer)
	if err != nil {
		return err
	}
	config, err := a.document("application/vnd.oci.image.config.v1+json", object{"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": []string{"/app"}, "User": "65532:65532"}, "rootfs": object{"type": "layers", "diff_ids": []any{diff["digest"]}}})
	if err != nil {
		return err
	}
	manifest, err := a.document("application/vnd.oci.image.manifest.v1+json", object{"schemaVersion": 2,
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{diff}})
	if err != nil {
		return err
	}
	var manifests []any
	for _, name := range names {
		manifests = append(manifests, object{"mediaType": manifest["mediaType"], "digest": manifest["digest"], "size": manifest["size"],
			"annotations": object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}})
	}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": manifests})
	if err != nil {
		return fmt.Errorf("encoding the index: %w", err)
	}
	if err := a.add("index.json", 0o644, index); err != nil {
		return err
	}
	return a.add("oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func (a archive) document(kind string, content object) (object, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", kind, err)
	}
	return a.blob(kind, data)
}

// blob adds content under its digest, and describes it.
func (a archive) blob(kind string, content []byte) (object, error) {
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	return object{"mediaType": kind, "digest": "sha256:" + sum, "size": len(content)}, a.add("blobs/sha256/"+sum, 0o644, content)
}

func (a archive) add(name string, mode int64, content []byte) error {
	if err := a.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := a.Write(content); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
