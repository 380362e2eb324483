package box

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/cache"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

func (p *plane) startControllerManager(ctx context.Context) error {
	o := p.opts
	s, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	if s.ComponentGlobalsRegistry, err = newRegistry(); err != nil {
		return err
	}
	known, off, aliases := kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases()
	sets := s.Flags(known, off, aliases)
	err = parseFlags(sets, append([]string{
		"--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--secure-port=0", "--use-service-account-credentials=true", "--controllers=" + o.Controllers,
		"--kubeconfig=" + o.key("controller-manager.kubeconfig"), "--root-ca-file=" + o.key("ca.crt"),
		"--service-account-private-key-file=" + o.key("sa.key"),
	}, o.Manager...))
	if err != nil {
		return fmt.Errorf("parsing its flags: %w", err)
	}
	s.ParsedFlags = &sets
	if err := s.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("setting its feature gates: %w", err)
	}
	config, err := s.Config(ctx, known, off, aliases)
	if err != nil {
		return fmt.Errorf("completing its options: %w", err)
	}
	p.add(ctx, "kube-controller-manager", func(ctx context.Context) error { return kcm.Run(ctx, config.Complete()) })
	p.say("kube-controller-manager started")
	return nil
}

func (p *plane) startScheduler(ctx context.Context) error {
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	s := scheduleroptions.NewOptionsWithComponentGlobalsRegistry(registry)
	err = parseFlags(*s.Flags, []string{"--leader-elect=false", "--secure-port=0", "--kubeconfig=" + p.opts.key("scheduler.kubeconfig")})
	if err != nil {
		return fmt.Errorf("parsing its flags: %w", err)
	}
	if err := registry.Set(); err != nil {
		return fmt.Errorf("setting its feature gates: %w", err)
	}
	if s.InformerName, err = cache.NewInformerName("kube-scheduler"); err != nil {
		return fmt.Errorf("naming its informers: %w", err)
	}
	config, sched, err := scheduler.Setup(ctx, s)
	if err != nil {
		return fmt.Errorf("setting it up: %w", err)
	}
	p.add(ctx, "kube-scheduler", func(ctx context.Context) error { return scheduler.Run(ctx, config, sched) })
	p.say("kube-scheduler started")
	return nil
}
