// Command discovery-lab is the discovery service that Talos asks at discovery.talos.dev: machines of a cluster tell it
// who they are, encrypted, and hear of each other. Upstream's own server is not served as a module; its API is.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// How often expired machines are looked for; they tell of themselves for half an hour at a time.
const sweep = time.Minute

func main() {
	address := flag.String("address", "", "where to listen, HOST:PORT")
	certificate := flag.String("certificate", "", "PEM file")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *address, *certificate, *key); err != nil {
		fmt.Fprintln(os.Stderr, "discovery-lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, certificate, key string) error {
	tls, err := credentials.NewServerTLSFromFile(certificate, key)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("serving at", listener.Addr())
	registry := newRegistry(time.Now)
	go func() {
		for range time.Tick(sweep) {
			registry.expire()
		}
	}()
	server := grpc.NewServer(grpc.Creds(tls))
	pb.RegisterClusterServer(server, &service{registry: registry})
	defer context.AfterFunc(ctx, server.Stop)()
	return server.Serve(listener)
}
