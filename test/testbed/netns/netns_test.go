package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Init()
	if Inside() {
		os.Exit(m.Run())
	}
	cmd := Command(append([]string{"/proc/self/exe"}, os.Args[1:]...))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err := Run(context.Background(), cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace, NOT TESTED:", err)
	}
	os.Exit(code)
}

func TestPodAddressesAreLocal(t *testing.T) {
	l, err := net.Listen("tcp4", "10.247.13.200:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestNoWayOutAndNoResolver(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			t.Errorf("device %s is up", i.Name)
		}
	}
	if text, err := os.ReadFile("/etc/resolv.conf"); err == nil && len(text) > 0 {
		t.Errorf("the resolver is configured: %s", text)
	}
}

func TestSlotsAreDisjointAndGivenBack(t *testing.T) {
	a, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	if a.Pods.Overlaps(b.Pods) {
		t.Errorf("%s and %s overlap", a.Pods, b.Pods)
	}
	p, err := a.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	q, err := b.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	if p+3 > q && q+3 > p {
		t.Errorf("ports %d and %d overlap", p, q)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	if c.Pods != a.Pods {
		t.Errorf("got %s, want %s again", c.Pods, a.Pods)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPortsSkipTakenOnes(t *testing.T) {
	s, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", s.next+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := s.next
	if got, err := s.Ports(2); err != nil || got != first+2 {
		t.Errorf("got %d, %v; want %d", got, err, first+2)
	}
	if _, err := s.Ports(slotPorts); err == nil {
		t.Error("more ports than a slot holds were given out")
	}
}
