package git

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

const (
	upload  = transport.UploadPackServiceName
	receive = transport.ReceivePackServiceName

	maxHTTPError    = 16 << 10
	headerTimeout   = 60 * time.Second
	handshakeLimit  = 15 * time.Second
	maxAdvertised   = 32 << 20
	maxReceiveReply = 1 << 20
)

// uploader and receiver are go-git's sessions, plus the release of whatever
// connection they hold.
type uploader struct {
	transport.UploadPackSession
	release func()
}

type receiver struct {
	transport.ReceivePackSession
	release func()
}

func (r Remote) openUpload(ctx context.Context) (*uploader, error) {
	endpoint, err := parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	if endpoint.Protocol == "ssh" || endpoint.Protocol == "file" {
		session, err := r.openStream(ctx, endpoint, upload)
		if err != nil {
			return nil, r.classify(ctx, "connecting to", err)
		}
		return &uploader{session, session.release}, nil
	}
	client, release := r.httpClient(r.limits().PackBytes + maxAdvertised)
	session, err := githttp.NewClient(client).NewUploadPackSession(endpoint, r.Auth.http())
	if err != nil {
		return nil, r.classify(ctx, "connecting to", err)
	}
	return &uploader{session, release}, nil
}

func (r Remote) openReceive(ctx context.Context) (*receiver, error) {
	endpoint, err := parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	if endpoint.Protocol == "ssh" || endpoint.Protocol == "file" {
		session, err := r.openStream(ctx, endpoint, receive)
		if err != nil {
			return nil, r.classify(ctx, "connecting to", err)
		}
		return &receiver{session, session.release}, nil
	}
	client, release := r.httpClient(maxAdvertised + maxReceiveReply)
	session, err := githttp.NewClient(client).NewReceivePackSession(endpoint, r.Auth.http())
	if err != nil {
		return nil, r.classify(ctx, "connecting to", err)
	}
	return &receiver{session, release}, nil
}

// http returns go-git's form of the credentials, nil when there are none.
func (a Auth) http() transport.AuthMethod {
	switch {
	case a.bearer != "":
		return &githttp.TokenAuth{Token: a.bearer}
	case a.username != "":
		return &githttp.BasicAuth{Username: a.username, Password: a.password}
	}
	return nil
}

func (r Remote) httpClient(bodyLimit int64) (*http.Client, func()) {
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.Auth.ca},
		TLSHandshakeTimeout:   handshakeLimit,
		ResponseHeaderTimeout: headerTimeout,
		ForceAttemptHTTP2:     true,
	}
	client := &http.Client{
		Transport: boundedTransport{base: base, limit: bodyLimit},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return fmt.Errorf("redirect from https to %s refused", next.URL.Scheme)
			}
			return nil
		},
	}
	return client, base.CloseIdleConnections
}

// boundedTransport limits the size of answers; of an error, to what a person
// may want to read.
type boundedTransport struct {
	base  http.RoundTripper
	limit int64
}

func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body := response.Body
	if response.StatusCode >= http.StatusMultipleChoices {
		response.Body = readCloser{io.LimitReader(body, maxHTTPError), body}
	} else {
		response.Body = readCloser{&bounded{reader: body, left: t.limit}, body}
	}
	return response, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// bounded fails with ErrTooLarge once more than left bytes were read.
type bounded struct {
	reader io.Reader
	left   int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var probe [1]byte
		if n, err := b.reader.Read(probe[:]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("reading the server's answer: size: %w", ErrTooLarge)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.reader.Read(p)
	b.left -= int64(n)
	return n, err
}
