package gittest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH serves the repositories of a Server over ssh to one key.
type SSH struct {
	server   *Server
	listener net.Listener
	// Identity is the PEM private key that is let in.
	Identity []byte
	// KnownHosts is the line that names the server's host key.
	KnownHosts []byte
	wait       sync.WaitGroup
}

// SSH starts an ssh server for the same repositories; it stops with the test.
func (s *Server) SSH() *SSH {
	s.t.Helper()
	client, identity := NewKey(s.t)
	host, _ := NewKey(s.t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	out := &SSH{server: s, listener: listener, Identity: identity}
	out.KnownHosts = []byte(knownhosts.Line([]string{listener.Addr().String()}, host.PublicKey()) + "\n")
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
				return nil, fmt.Errorf("unknown key")
			}
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(host)
	out.wait.Go(func() { out.accept(config) })
	s.t.Cleanup(func() {
		_ = listener.Close()
		out.wait.Wait()
	})
	return out
}

// NewKey makes an ed25519 key and its PEM form.
func NewKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// URL is where a repository is served over ssh.
func (s *SSH) URL(repository string) string {
	return "ssh://git@" + s.listener.Addr().String() + "/" + repository + ".git"
}

func (s *SSH) accept(config *ssh.ServerConfig) {
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wait.Go(func() {
			defer func() { _ = connection.Close() }()
			_, channels, requests, err := ssh.NewServerConn(connection, config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			for channel := range channels {
				s.serve(channel)
			}
		})
	}
}

func (s *SSH) serve(offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	for request := range requests {
		if request.Type != "exec" {
			_ = request.Reply(false, nil)
			continue
		}
		var payload struct{ Command string }
		_ = ssh.Unmarshal(request.Payload, &payload)
		_ = request.Reply(true, nil)
		status := s.exec(channel, payload.Command)
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

func (s *SSH) exec(channel ssh.Channel, line string) uint32 {
	service, path, _ := strings.Cut(line, " ")
	if service != "git-upload-pack" && service != "git-receive-pack" {
		_, _ = fmt.Fprintln(channel.Stderr(), "no such command")
		return 127
	}
	path = filepath.Join(s.server.dir, filepath.Clean("/"+strings.Trim(path, "'")))
	command := exec.Command("git", strings.TrimPrefix(service, "git-"), path)
	command.Stdout, command.Stderr = channel, channel.Stderr()
	stdin, err := command.StdinPipe()
	if err != nil || command.Start() != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	}()
	if err := command.Wait(); err != nil {
		return 128
	}
	return 0
}
