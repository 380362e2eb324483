package node

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// environment returns the container's environment: the node's own variables first, then envFrom, then env; the last of a name wins.
func (c *container) environment(ctx context.Context) ([]string, error) {
	obj := c.pod.object()
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOSTNAME=" + obj.Name, "POD_NAME=" + obj.Name, "POD_IP=" + c.pod.address.String()}
	for _, from := range c.spec.EnvFrom {
		values, err := c.source(ctx, from)
		if err != nil {
			return nil, err
		}
		for k, v := range values {
			env = append(env, from.Prefix+k+"="+v)
		}
	}
	for _, e := range c.spec.Env {
		value, set, err := c.value(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", e.Name, err)
		}
		if set {
			env = append(env, e.Name+"="+value)
		}
	}
	return env, nil
}

func (c *container) source(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		return c.configMap(ctx, from.ConfigMapRef.Name, ptr.Deref(from.ConfigMapRef.Optional, false))
	case from.SecretRef != nil:
		return c.secret(ctx, from.SecretRef.Name, ptr.Deref(from.SecretRef.Optional, false))
	}
	return nil, nil
}

// value returns a variable's value, and whether it is to be set at all (an optional reference may lead nowhere).
func (c *container) value(ctx context.Context, e corev1.EnvVar) (string, bool, error) {
	from := e.ValueFrom
	switch {
	case from == nil:
		return e.Value, true, nil
	case from.FieldRef != nil:
		v, err := c.field(from.FieldRef.FieldPath)
		return v, err == nil, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		data, err := c.configMap(ctx, r.Name, ptr.Deref(r.Optional, false))
		return pick(data, r.Key, ptr.Deref(r.Optional, false), err)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		data, err := c.secret(ctx, r.Name, ptr.Deref(r.Optional, false))
		return pick(data, r.Key, ptr.Deref(r.Optional, false), err)
	}
	return "", false, fmt.Errorf("this node does not know that kind of source")
}

func pick(data map[string]string, key string, optional bool, err error) (string, bool, error) {
	v, ok := data[key]
	if err == nil && !ok && !optional {
		err = fmt.Errorf("no key %q", key)
	}
	return v, ok, err
}

func (c *container) configMap(ctx context.Context, name string, optional bool) (map[string]string, error) {
	cm, err := c.pod.node.client.CoreV1().ConfigMaps(c.pod.object().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing("configmap", name, optional, err)
	}
	return cm.Data, nil
}

func (c *container) secret(ctx context.Context, name string, optional bool) (map[string]string, error) {
	s, err := c.pod.node.client.CoreV1().Secrets(c.pod.object().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing("secret", name, optional, err)
	}
	data := map[string]string{}
	for k, v := range s.Data {
		data[k] = string(v)
	}
	return data, nil
}

func missing(kind, name string, optional bool, err error) error {
	if optional && apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reading %s %q: %w", kind, name, err)
}

// field is the Downward API.
func (c *container) field(path string) (string, error) {
	p := c.pod.object()
	switch path {
	case "metadata.name":
		return p.Name, nil
	case "metadata.namespace":
		return p.Namespace, nil
	case "metadata.uid":
		return string(p.UID), nil
	case "spec.nodeName":
		return c.pod.node.Name, nil
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return c.pod.address.String(), nil
	case "status.hostIP", "status.hostIPs":
		return "127.0.0.1", nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels['": p.Labels, "metadata.annotations['": p.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("this node does not know the field %q", path)
}
