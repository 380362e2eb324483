package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// partingLimit is how long a process that has stopped answering may take to end.
const partingLimit = 2 * time.Second

// stream speaks the pack protocol over a pair of pipes to a git process, here
// or behind ssh. Cancelling the context it was opened with ends it.
type stream struct {
	in      io.WriteCloser
	out     io.Reader
	stderr  *tail
	wait    func()
	release func()
	adverts *packp.AdvRefs
	service string
	asked   bool
}

func (r Remote) openStream(ctx context.Context, endpoint *transport.Endpoint, service string) (*stream, error) {
	if endpoint.Protocol == "file" {
		return openProcess(ctx, endpoint.Path, service)
	}
	return r.openSSH(ctx, endpoint, service)
}

// openProcess runs git on a local repository.
func openProcess(ctx context.Context, path, service string) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, "git", strings.TrimPrefix(service, "git-"), path)
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	s := &stream{stderr: &tail{limit: maxReason}, service: service}
	command.Stderr = s.stderr
	var err error
	if s.in, err = command.StdinPipe(); err != nil {
		cancel()
		return nil, fmt.Errorf("opening pipe to git: %w", err)
	}
	if s.out, err = command.StdoutPipe(); err != nil {
		cancel()
		return nil, fmt.Errorf("opening pipe from git: %w", err)
	}
	if err := command.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting git: %w", err)
	}
	s.wait = sync.OnceFunc(func() { _ = command.Wait() })
	s.release = func() {
		cancel()
		s.wait()
	}
	return s, nil
}

// openSSH dials, verifies the host key, authenticates and starts the service;
// the connection lives no longer than the context.
func (r Remote) openSSH(ctx context.Context, endpoint *transport.Endpoint, service string) (*stream, error) {
	if r.Auth.signer == nil {
		return nil, fmt.Errorf("%w: ssh needs the keys %q and %q", ErrAuth, KeyIdentity, KeyKnownHosts)
	}
	port := endpoint.Port
	if port == 0 {
		port = 22
	}
	address := net.JoinHostPort(strings.Trim(endpoint.Host, "[]"), strconv.Itoa(port))
	config, err := r.Auth.sshConfig(endpoint.User, address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: handshakeLimit}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	release := func() {
		stop()
		_ = connection.Close()
	}
	s, err := startSSH(connection, address, config, service+" "+shellQuote(endpoint.Path))
	if err != nil {
		release()
		return nil, err
	}
	s.service, s.release = service, release
	return s, nil
}

func startSSH(connection net.Conn, address string, config *ssh.ClientConfig, command string) (*stream, error) {
	if err := connection.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return nil, err
	}
	conn, channels, requests, err := ssh.NewClientConn(connection, address, config)
	if err != nil {
		return nil, err
	}
	session, err := ssh.NewClient(conn, channels, requests).NewSession()
	if err != nil {
		return nil, fmt.Errorf("opening ssh session: %w", err)
	}
	s := &stream{stderr: &tail{limit: maxReason}}
	session.Stderr = s.stderr
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, fmt.Errorf("opening ssh session: %w", err)
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("opening ssh session: %w", err)
	}
	if err := session.Start(command); err != nil {
		return nil, fmt.Errorf("starting git over ssh: %w", err)
	}
	s.wait = sync.OnceFunc(func() { _ = session.Wait() })
	return s, connection.SetDeadline(time.Time{})
}

// sshConfig trusts exactly the given known_hosts. The library reads files only,
// so they pass through a private temporary one.
func (a Auth) sshConfig(user, address string) (*ssh.ClientConfig, error) {
	file, err := os.CreateTemp("", "belay-known-hosts-")
	if err != nil {
		return nil, fmt.Errorf("writing known_hosts: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(append(append([]byte{}, a.knownHosts...), '\n'))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("writing known_hosts: %w", err)
	}
	hosts, err := knownhosts.NewDB(file.Name())
	if err != nil {
		return nil, fmt.Errorf("%w: key %q is malformed", ErrAuth, KeyKnownHosts)
	}
	if user == "" {
		user = "git"
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(a.signer)},
		HostKeyCallback:   hosts.HostKeyCallback(),
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(address),
	}, nil
}

// shellQuote quotes a path for the server's shell as git does.
func shellQuote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

func (s *stream) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext reads the server's first message, once.
func (s *stream) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	if s.adverts != nil {
		return s.adverts, nil
	}
	adverts := packp.NewAdvRefs()
	err := adverts.Decode(&bounded{reader: s.out, left: maxAdvertised})
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		if s.service == upload {
			return nil, transport.ErrEmptyRemoteRepository
		}
	case err != nil:
		return nil, s.explain(err)
	}
	transport.FilterUnsupportedCapabilities(adverts.Capabilities)
	if s.service == upload && adverts.IsEmpty() {
		return nil, transport.ErrEmptyRemoteRepository
	}
	s.adverts = adverts
	return adverts, nil
}

// explain adds what the other side said on its error channel, after giving it a
// moment to end, so that all of it has arrived.
func (s *stream) explain(err error) error {
	_ = s.in.Close()
	stop := time.AfterFunc(partingLimit, s.release)
	s.wait()
	stop.Stop()
	said := cleanText(s.stderr.String(), maxErrorText)
	lower := strings.ToLower(said)
	for _, sign := range []string{"not found", "does not exist", "not appear to be a git repository", "could not be found"} {
		if strings.Contains(lower, sign) {
			return fmt.Errorf("%w: %s", transport.ErrRepositoryNotFound, said)
		}
	}
	if said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}

// UploadPack sends the wants and returns the answer up to the pack.
func (s *stream) UploadPack(_ context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	s.asked = true
	if err := request.UploadRequest.Encode(s.in); err != nil {
		return nil, fmt.Errorf("sending wants: %w", err)
	}
	if err := request.UploadHaves.Encode(s.in, false); err != nil {
		return nil, fmt.Errorf("sending haves: %w", err)
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("sending wants: %w", err)
	}
	response := packp.NewUploadPackResponse(request)
	if err := response.Decode(io.NopCloser(s.out)); err != nil {
		return nil, s.explain(err)
	}
	return response, nil
}

// ReceivePack sends the commands with the pack and reads the report.
func (s *stream) ReceivePack(_ context.Context, request *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	s.asked = true
	if err := request.Encode(s.in); err != nil {
		return nil, fmt.Errorf("sending pack: %w", err)
	}
	if err := s.in.Close(); err != nil {
		return nil, fmt.Errorf("sending pack: %w", err)
	}
	var answer io.Reader = &bounded{reader: s.out, left: maxReceiveReply}
	if request.Capabilities.Supports(capability.Sideband64k) {
		demuxer := sideband.NewDemuxer(sideband.Sideband64k, answer)
		demuxer.Progress = request.Progress
		answer = demuxer
	}
	report := packp.NewReportStatus()
	if err := report.Decode(answer); err != nil {
		return nil, s.explain(err)
	}
	return report, report.Error()
}

// Close says goodbye if nothing was asked for, and ends the connection.
func (s *stream) Close() error {
	if !s.asked && s.adverts != nil {
		_, _ = s.in.Write(pktline.FlushPkt)
	}
	s.release()
	return nil
}
