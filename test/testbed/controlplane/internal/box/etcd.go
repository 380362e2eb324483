package box

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
)

func (p *plane) startEtcd(ctx context.Context) error {
	c := embed.NewConfig()
	c.Dir = filepath.Join(p.opts.Dir, "etcd")
	c.LogLevel = "error"
	c.UnsafeNoFsync = true // the data is worth nothing once the testbed is gone
	client, err := url.Parse(p.opts.etcdURL())
	if err != nil {
		return err
	}
	peer, err := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", p.opts.EtcdPort+1))
	if err != nil {
		return err
	}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	p.add(ctx, "etcd", func(ctx context.Context) error {
		defer e.Close()
		select {
		case <-ctx.Done():
			return nil
		case err := <-e.Err():
			return err
		}
	})
	select {
	case <-e.Server.ReadyNotify():
		p.say("etcd ready")
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
