package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"
)

// host is the machine as the agent changes it.
type host interface {
	// mtu of the interface that has an address.
	mtu(address netip.Addr) (int, error)
	// forward packets between pods and the network, and let the packet filter see bridged ones.
	forward() error
	// writeConfiguration replaces the CNI configuration in one step, if it differs.
	writeConfiguration(content []byte) error
	// routes that the agent made.
	routes() ([]route, error)
	setRoute(route) error
	removeRoute(route) error
}

// agent keeps the network of one node as the API server describes it.
type agent struct {
	node  string
	api   *kubernetes
	host  host
	log   *slog.Logger
	state state
}

func (a *agent) run(ctx context.Context) {
	// Nodes come and go rarely; until the first success pods wait for us, so ask each second.
	every(ctx, 10*time.Second, time.Second, func(ctx context.Context) error {
		err := a.once(ctx)
		if err != nil {
			a.log.Info("the network is not there yet", "reason", err.Error())
		} else if a.state.get() != nil {
			a.log.Info("the network is there")
		}
		a.state.set(err)
		return err
	})
}

func (a *agent) once(ctx context.Context) error {
	var list struct {
		Items []node `json:"items"`
	}
	if err := a.api.call(ctx, http.MethodGet, "/api/v1/nodes", "", nil, &list); err != nil {
		return err
	}
	self, err := find(a.node, list.Items)
	if err != nil {
		return err
	}
	if err := a.configure(self); err != nil {
		return err
	}
	if err := a.route(list.Items); err != nil {
		return err
	}
	return a.untaint(ctx, self)
}

func find(name string, nodes []node) (*node, error) {
	for i := range nodes {
		if nodes[i].Metadata.Name == name {
			return &nodes[i], nil
		}
	}
	return nil, fmt.Errorf("node %s is not registered", name)
}

func (a *agent) configure(self *node) error {
	network, err := self.podNetwork()
	if err != nil {
		return err
	}
	address, err := self.address()
	if err != nil {
		return err
	}
	mtu, err := a.host.mtu(address)
	if err != nil {
		return err
	}
	if err := a.host.forward(); err != nil {
		return err
	}
	return a.host.writeConfiguration(configuration(network, mtu))
}

func (a *agent) route(nodes []node) error {
	present, err := a.host.routes()
	if err != nil {
		return fmt.Errorf("reading routes: %w", err)
	}
	set, remove := routeChanges(wantedRoutes(a.node, nodes), present)
	for _, r := range set {
		if err := a.host.setRoute(r); err != nil {
			return fmt.Errorf("route to %s via %s: %w", r.to, r.via, err)
		}
		a.log.Info("route set", "to", r.to.String(), "via", r.via.String())
	}
	for _, r := range remove {
		if err := a.host.removeRoute(r); err != nil {
			return fmt.Errorf("removing the route to %s: %w", r.to, err)
		}
		a.log.Info("route removed", "to", r.to.String())
	}
	return nil
}

func (a *agent) untaint(ctx context.Context, self *node) error {
	kept, found := self.withoutAgentTaint()
	if !found {
		return nil
	}
	// With the resource version, so that a taint which somebody adds meanwhile is not lost.
	patch := map[string]any{
		"metadata": map[string]any{"resourceVersion": self.Metadata.ResourceVersion},
		"spec":     map[string]any{"taints": kept},
	}
	path := "/api/v1/nodes/" + self.Metadata.Name
	return a.api.call(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, nil)
}

// configuration is the CNI network: a bridge of the node's own part, masquerading towards everything outside of it.
func configuration(network netip.Prefix, mtu int) []byte {
	text, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       "cilium",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "cilium_lab", "mtu": mtu,
				"isGateway": true, "ipMasq": true, "hairpinMode": true,
				"ipam": map[string]any{
					"type":   "host-local",
					"ranges": []any{[]any{map[string]any{"subnet": network.String()}}},
					"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // text, numbers and booleans only
	}
	return append(text, '\n')
}
