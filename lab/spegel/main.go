// Command spegel-lab stands in for Spegel in rehearsals: `registry` serves, by digest, what the containerd of its own
// machine holds. It knows no other machines and no tags, and tells no containerd to ask it: `configuration` and
// `cleanup`, which the chart runs as well, leave the machine as it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "spegel-lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	switch strings.Join(arguments[:min(len(arguments), 1)], "") {
	case "configuration":
		return nil
	case "cleanup":
		<-ctx.Done()
		return nil
	case "registry":
		content := option(arguments, "containerd-content-path")
		if content == "" {
			return errors.New("--containerd-content-path is not given")
		}
		return serve(ctx, option(arguments, "registry-addr"), mirror{content})
	default:
		return errors.New("usage: spegel-lab registry|configuration|cleanup [flags]")
	}
}

// option finds the value of a flag; Spegel's other flags, some with lists behind them, are let pass.
func option(arguments []string, name string) string {
	for _, argument := range arguments {
		if value, found := strings.CutPrefix(argument, "--"+name+"="); found {
			return value
		}
	}
	return ""
}

func serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("serving at", listener.Addr())
	// Whoever asks sends a few lines, and on one network.
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
