package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-delivery/belay/test/testbed/load"
)

func loadCommand() *cobra.Command {
	var o load.Options
	var out, samples string
	var every time.Duration
	cmd := &cobra.Command{
		Use: "load --url URL", Short: "Send requests at a constant rate, until SIGTERM or for a time, and count what comes back by X-Version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var lines io.Writer
			if samples != "" {
				f, err := os.Create(samples)
				if err != nil {
					return fmt.Errorf("opening the file of samples: %w", err)
				}
				defer f.Close()
				lines = f
			}
			return runLoad(cmd.Context(), o, load.NewRecorder(o, lines), out, every)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.URL, "url", "", "where to")
	f.StringVar(&o.Host, "host", "", "Host header (default the URL's)")
	f.StringToStringVar(&o.Header, "header", nil, "NAME=VALUE of every request; may be given several times")
	f.Float64Var(&o.Rate, "rate", 100, "requests per second")
	f.DurationVar(&o.Duration, "duration", 0, "how long (default until SIGTERM)")
	f.IntVar(&o.Concurrency, "concurrency", 64, "requests under way at once, at most")
	f.DurationVar(&o.Timeout, "timeout", 10*time.Second, "of one request")
	f.StringVar(&out, "out", "", "file with the summary, kept up to date (default: standard output, at the end)")
	f.DurationVar(&every, "every", 200*time.Millisecond, "how often the file is brought up to date")
	f.StringVar(&samples, "samples", "", "file with every request, one line of JSON each")
	_ = cmd.MarkFlagRequired("url")
	return cmd
}

// runLoad sends the requests while it keeps the summary in file out up to date.
func runLoad(ctx context.Context, o load.Options, r *load.Recorder, out string, every time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- load.Run(ctx, o, r) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return errors.Join(err, r.Flush(), report(r, out))
		case <-tick.C:
			if out == "" {
				continue
			}
			if err := r.Save(out, false); err != nil {
				return err
			}
		}
	}
}

func report(r *load.Recorder, out string) error {
	if out != "" {
		return r.Save(out, true)
	}
	text, err := r.JSON(true)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(text))
	return err
}
