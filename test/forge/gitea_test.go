package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// startTime is how long Gitea may take to be ready, on a slow machine.
	startTime = 3 * time.Minute
	owner     = "people"
	bot       = "belay"
)

// gitea is a running forge with two users: people, who own the repositories, and the bot.
type gitea struct {
	dir, binary, config, url string
	tokens                   map[string]string
	repositories             int
}

var (
	startOnce sync.Once
	started   *gitea
	startErr  error
	stop      = func() {}
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	stop()
	os.Exit(code)
}

// forgeOf starts Gitea for the first test that wants it; it stops with the last.
func forgeOf(t *testing.T) *gitea {
	t.Helper()
	folder := os.Getenv("BELAY_TEST_GITEA")
	if folder == "" {
		t.Skip("SKIPPED: no real forge. BELAY_TEST_GITEA is not set: `make test-forge` builds Gitea once and sets it")
	}
	startOnce.Do(func() { started, startErr = start(folder) })
	if startErr != nil {
		t.Fatal(startErr)
	}
	return started
}

func start(folder string) (*gitea, error) {
	dir, err := os.MkdirTemp("", "belay-gitea-")
	if err != nil {
		return nil, err
	}
	stop = func() { _ = os.RemoveAll(dir) }
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	g := &gitea{dir: dir, binary: filepath.Join(folder, "gitea"), config: filepath.Join(dir, "app.ini"), url: fmt.Sprintf("http://127.0.0.1:%d", port), tokens: map[string]string{}}
	text := fmt.Sprintf(settings, filepath.Join(dir, "data"), port, g.url, filepath.Join(folder, "source"), filepath.Join(dir, "gitea.db"), filepath.Join(dir, "repositories"))
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if out, err := g.command("migrate").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making Gitea's database: %w\n%s", err, out)
	}
	if err := g.serve(); err != nil {
		return nil, err
	}
	for user, scopes := range map[string]string{owner: "all", bot: "write:repository"} {
		if g.tokens[user], err = g.user(user, scopes); err != nil {
			return nil, err
		}
	}
	return g, nil
}

const settings = `APP_NAME = forge
RUN_MODE = prod
APP_DATA_PATH = %s
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %d
ROOT_URL = %s/
STATIC_ROOT_PATH = %s
DISABLE_SSH = true
LFS_START_SERVER = false
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = %s
SQLITE_JOURNAL_MODE = WAL
SQLITE_TIMEOUT = 30000
[repository]
ROOT = %s
[security]
INSTALL_LOCK = true
SECRET_KEY = for-tests-on-loopback-only
INTERNAL_TOKEN = for-tests-on-loopback-only
[oauth2]
ENABLED = false
[webhook]
ALLOWED_HOST_LIST = loopback
DELIVER_TIMEOUT = 30
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = false
[packages]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
`

func (g *gitea) command(args ...string) *exec.Cmd {
	cmd := exec.Command(g.binary, append([]string{"--config", g.config, "--work-path", g.dir}, args...)...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "GITEA_WORK_DIR="+g.dir, "GIT_CONFIG_NOSYSTEM=1")
	if os.Geteuid() == 0 {
		cmd.Env = append(cmd.Env, "GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT=true") // on loopback, for as long as the test runs
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd
}

// serve starts the process and waits until it answers.
func (g *gitea) serve() error {
	said := filepath.Join(g.dir, "gitea.log")
	file, err := os.Create(said)
	if err != nil {
		return err
	}
	cmd := g.command("web")
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	remove := stop
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
		}
		_ = file.Close()
		remove()
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startTime)
	for {
		response, err := http.Get(g.url + "/api/v1/version")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-ended:
			ended <- err
			out, _ := os.ReadFile(said)
			return fmt.Errorf("starting Gitea: it ended: %w\n%s", err, out)
		case <-late:
			out, _ := os.ReadFile(said)
			return fmt.Errorf("starting Gitea: it does not answer after %v\n%s", startTime, out)
		case <-tick.C:
		}
	}
}

// user makes a user and returns a token of theirs.
func (g *gitea) user(name, scopes string) (string, error) {
	args := []string{"admin", "user", "create", "--username", name, "--email", name + "@example.com", "--random-password", "--must-change-password=false",
		"--access-token", "--access-token-name", "test", "--access-token-scopes", scopes}
	if name == owner {
		args = append(args, "--admin")
	}
	out, err := g.command(args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("making user %s: %w\n%s", name, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, token, found := strings.Cut(line, "Access token was successfully created... "); found {
			return strings.TrimSpace(token), nil
		}
	}
	return "", fmt.Errorf("making user %s: no token in:\n%s", name, out)
}

// try makes a request of the API as a user.
func (g *gitea) try(user, method, path string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequest(method, g.url+"/api/v1/"+path, body)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "token "+g.tokens[user])
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode >= 300 {
		return response.StatusCode, errors.New(string(raw))
	}
	if out != nil {
		return response.StatusCode, json.Unmarshal(raw, out)
	}
	return response.StatusCode, nil
}

func (g *gitea) call(t *testing.T, user, method, path string, in, out any) {
	t.Helper()
	if status, err := g.try(user, method, path, in, out); err != nil {
		t.Fatalf("%s %s as %s: %d: %v", method, path, user, status, err)
	}
}
