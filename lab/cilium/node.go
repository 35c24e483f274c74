package main

import (
	"fmt"
	"net/netip"
	"slices"
)

// agentTaint keeps pods off a node whose network is not there; Cilium takes it away, so the stand-in does.
const agentTaint = "node.cilium.io/agent-not-ready"

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// node is what the agent reads of a Node.
type node struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		PodCIDRs []string `json:"podCIDRs"`
		Taints   []taint  `json:"taints"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

// podNetwork is the node's IPv4 part of the pod network, masked.
func (n *node) podNetwork() (netip.Prefix, error) {
	for _, text := range n.Spec.PodCIDRs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("node %s: %w", n.Metadata.Name, err)
		}
		if prefix.Addr().Is4() {
			return prefix.Masked(), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("node %s has no IPv4 podCIDR yet", n.Metadata.Name)
}

// address is the node's internal IPv4 address.
func (n *node) address() (netip.Addr, error) {
	for _, entry := range n.Status.Addresses {
		address, err := netip.ParseAddr(entry.Address)
		if entry.Type == "InternalIP" && err == nil && address.Is4() {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("node %s has no internal IPv4 address yet", n.Metadata.Name)
}

// withoutAgentTaint gives the taints that stay and whether one went.
func (n *node) withoutAgentTaint() ([]taint, bool) {
	kept := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t taint) bool { return t.Key == agentTaint })
	return kept, len(kept) != len(n.Spec.Taints)
}

// route leads to the pods of another node.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

// wantedRoutes are those to the pods of every other node that has both an address and a part of the pod network.
func wantedRoutes(self string, nodes []node) []route {
	var routes []route
	for _, other := range nodes {
		network, networkErr := other.podNetwork()
		address, addressErr := other.address()
		if other.Metadata.Name != self && networkErr == nil && addressErr == nil {
			routes = append(routes, route{network, address})
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return a.to.Addr().Compare(b.to.Addr()) })
	return routes
}

// routeChanges compares: what to set, and what to take away because nothing wants its network any more.
func routeChanges(wanted, present []route) (set, remove []route) {
	for _, w := range wanted {
		if !slices.Contains(present, w) {
			set = append(set, w)
		}
	}
	for _, p := range present {
		if !slices.ContainsFunc(wanted, func(w route) bool { return w.to == p.to }) {
			remove = append(remove, p)
		}
	}
	return set, remove
}
