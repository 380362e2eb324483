package node

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// prober asks the processes; it keeps no connection, as a probe is to find out whether a new one can be made.
var prober = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// probe runs the startup probe, then the readiness and liveness probes, until ctx ends. It calls restart when the container is to
// be restarted.
func (c *container) probe(ctx context.Context, restart func()) {
	if s := c.spec.StartupProbe; s != nil {
		ok := false
		c.repeat(ctx, s, func(good bool) bool { ok = good; return false })
		if ctx.Err() != nil {
			return
		}
		if !ok {
			restart()
			return
		}
		c.pod.set(func() { c.started, c.ready = true, c.spec.ReadinessProbe == nil })
	}
	var both sync.WaitGroup
	if l := c.spec.LivenessProbe; l != nil {
		both.Go(func() {
			c.repeat(ctx, l, func(good bool) bool {
				if !good {
					restart()
				}
				return good
			})
		})
	}
	if r := c.spec.ReadinessProbe; r != nil {
		both.Go(func() {
			c.repeat(ctx, r, func(good bool) bool { c.setReady(good); return true })
		})
	}
	both.Wait()
}

func (c *container) setReady(ready bool) {
	c.pod.mu.Lock()
	changed := c.ready != ready
	c.ready = ready
	c.pod.mu.Unlock()
	if changed {
		c.pod.touch()
	}
}

// repeat asks again and again, and reports each time a threshold is reached, until ctx ends or verdict returns false. While a probe
// has not succeeded yet, it is asked once a second at least, as a kubelet that has just seen the container start would.
func (c *container) repeat(ctx context.Context, p *corev1.Probe, verdict func(good bool) bool) {
	period := time.Duration(cmp.Or(p.PeriodSeconds, 10)) * time.Second
	wait := time.Duration(p.InitialDelaySeconds) * time.Second
	var good, bad int32
	for seen := false; ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if c.ask(ctx, p) {
			good, bad, seen = good+1, 0, true
		} else {
			good, bad = 0, bad+1
		}
		if ctx.Err() != nil {
			return
		}
		succeeded, failed := good >= cmp.Or(p.SuccessThreshold, 1), bad >= cmp.Or(p.FailureThreshold, 3)
		if (succeeded || failed) && !verdict(succeeded) {
			return
		}
		if wait = period; !seen && p == c.spec.ReadinessProbe {
			wait = min(period, time.Second)
		}
	}
}

// ask probes once.
func (c *container) ask(ctx context.Context, p *corev1.Probe) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(cmp.Or(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return c.askHTTP(ctx, p.HTTPGet)
	case p.TCPSocket != nil:
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.endpoint(p.TCPSocket.Port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	case p.Exec != nil && len(p.Exec.Command) > 0:
		env, err := c.environment(ctx)
		if err != nil {
			return false
		}
		cmd := exec.CommandContext(ctx, p.Exec.Command[0], p.Exec.Command[1:]...)
		cmd.Env = env
		return cmd.Run() == nil
	}
	return true
}

func (c *container) askHTTP(ctx context.Context, get *corev1.HTTPGetAction) bool {
	url := strings.ToLower(string(cmp.Or(get.Scheme, corev1.URISchemeHTTP))) + "://" + c.endpoint(get.Port) + "/" + strings.TrimPrefix(get.Path, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	for _, h := range get.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
	}
	res, err := prober.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 10<<10))
	return res.StatusCode >= 200 && res.StatusCode < 400
}

// endpoint returns the pod's address with a port given by number or by name.
func (c *container) endpoint(port intstr.IntOrString) string {
	number := port.String()
	for _, p := range c.spec.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			number = strconv.Itoa(int(p.ContainerPort))
		}
	}
	return net.JoinHostPort(c.pod.address.String(), number)
}
