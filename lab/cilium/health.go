package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// state is what the probes are told: nil once the work is done, else why it is not.
type state struct {
	mutex sync.Mutex
	known bool
	err   error
}

func (s *state) set(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.known, s.err = true, err
}

func (s *state) get() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.known {
		return errors.New("not done yet")
	}
	return s.err
}

// serveWhile answers the probes while work runs: /livez as long as the process lives, /healthz when the work is done.
func serveWhile(ctx context.Context, address string, s *state, work func(context.Context)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.get(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	// A probe waits 5 s at most.
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		listener, err := listen(ctx, address)
		if err == nil {
			err = server.Serve(listener)
		}
		failed <- err
	}()
	done := make(chan struct{})
	go func() { work(ctx); close(done) }()
	select {
	case err := <-failed:
		return err
	case <-done:
		return server.Close()
	}
}

// listen waits while somebody else has the address: where a rehearsal has one machine, two operators share it, and the
// probes of both are answered by whoever was there first.
func listen(ctx context.Context, address string) (net.Listener, error) {
	for {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second): // as often as a probe looks
		}
	}
}

// every calls once at the start and then again and again; sooner after an error, until the context ends.
func every(ctx context.Context, interval, retry time.Duration, once func(context.Context) error) {
	for {
		pause := interval
		if once(ctx) != nil {
			pause = retry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
