// Command cilium-lab stands in for Cilium in the lab: `agent` gives a node its pod network out of the CNI
// plugins that lie on the machine, `operator` registers the definitions that Cilium's operator registers.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// The ports are Cilium's own; both listen on the loopback address, as Cilium does.
const (
	agentHealth    = "127.0.0.1:9879"
	operatorHealth = "127.0.0.1:9234"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cilium-lab:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	if len(arguments) != 1 {
		return fmt.Errorf("usage: cilium-lab agent|operator")
	}
	switch arguments[0] {
	case "agent":
		node := os.Getenv("K8S_NODE_NAME")
		if node == "" {
			return fmt.Errorf("K8S_NODE_NAME is not set")
		}
		api, err := inCluster()
		if err != nil {
			return err
		}
		agent := &agent{node: node, api: api, host: linuxHost{}, log: log}
		return serveWhile(ctx, agentHealth, &agent.state, agent.run)
	case "operator":
		api, err := inCluster()
		if err != nil {
			return err
		}
		operator := &operator{api: api, log: log}
		return serveWhile(ctx, operatorHealth, &operator.state, operator.run)
	default:
		return fmt.Errorf("usage: cilium-lab agent|operator, not %q", arguments[0])
	}
}
