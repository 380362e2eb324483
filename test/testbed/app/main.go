// Command app is the sample application: one image whose behaviour the environment decides.
//
//	VERSION      what it calls itself (default "v1")
//	ERROR_RATE   the share of answers that are errors, 0 to 1
//	LATENCY_MS   how long every answer takes, in milliseconds
//	CPU_MS       how much processor time every answer takes, in milliseconds
//	LEAK_KIB     how much memory every answer leaves behind, in KiB
//	DEPENDENCY   a URL that is asked before every answer; unless it says 200 the answer is an error
//	READY_DELAY  how long after its start it says that it is ready (a duration)
//	CRASH        how long after its start it ends with exit code 1 (a duration; "0s" is at once; unset is never)
//	DRAIN        how long it goes on serving after SIGTERM (default 3s)
//	POD_IP, PORT where it listens (default every address, 8080)
//	POD_NAME     named in its answers (default HOSTNAME)
//
// It answers / with its version and pod (and the header X-Version), /healthz with 200 once ready, /metrics for Prometheus; and, on
// the same port, gRPC calls of grpc.health.v1.Health/Check (with the metadata x-version).
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// settings are what the environment says, checked.
type settings struct {
	version, pod, address string
	errorRate             float64
	leak                  int // bytes
	dependency            string
	latency, ready, drain time.Duration
	cpu                   time.Duration
	crash                 time.Duration // negative: never
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("sample application of the Belay testbed")
		return
	}
	s, err := readSettings(os.Getenv)
	if err == nil {
		err = serve(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1)
	}
}

func readSettings(env func(string) string) (settings, error) {
	get := func(name, otherwise string) string {
		if v := env(name); v != "" {
			return v
		}
		return otherwise
	}
	s := settings{version: get("VERSION", "v1"), pod: get("POD_NAME", env("HOSTNAME")), address: net.JoinHostPort(env("POD_IP"), get("PORT", "8080")),
		dependency: env("DEPENDENCY")}
	var errs [7]error
	s.errorRate, errs[0] = strconv.ParseFloat(get("ERROR_RATE", "0"), 64)
	s.latency, errs[1] = time.ParseDuration(get("LATENCY_MS", "0") + "ms")
	s.ready, errs[2] = time.ParseDuration(get("READY_DELAY", "0s"))
	s.drain, errs[3] = time.ParseDuration(get("DRAIN", "3s"))
	s.crash, errs[4] = time.ParseDuration(get("CRASH", "-1s"))
	s.cpu, errs[5] = time.ParseDuration(get("CPU_MS", "0") + "ms")
	s.leak, errs[6] = strconv.Atoi(get("LEAK_KIB", "0"))
	s.leak *= 1 << 10
	if err := errors.Join(errs[:]...); err != nil {
		return s, fmt.Errorf("reading the environment: %w", err)
	}
	if s.errorRate < 0 || s.errorRate > 1 {
		return s, fmt.Errorf("ERROR_RATE is %v, want 0 to 1", s.errorRate)
	}
	return s, nil
}

// serve answers until SIGTERM and for the drain time after it, then finishes what is under way.
func serve(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: withCalls(newHandler(s, time.Now()), s), Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Printf("version %s listening on %s\n", s.version, listener.Addr())
	var crash <-chan time.Time
	if s.crash >= 0 {
		crash = time.After(s.crash)
	}
	select {
	case err := <-ended:
		return err
	case <-crash:
		return errors.New("crashing, as CRASH says")
	case <-ctx.Done():
	}
	stop() // a second signal ends at once
	fmt.Println("draining for", s.drain)
	time.Sleep(s.drain)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
