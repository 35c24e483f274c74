package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

const (
	configurationFolder = "/host/etc/cni/net.d"
	// The first in order and Cilium's own name: the kubelet's runtime takes the first file.
	configurationFile = "05-cilium.conflist"
)

// linuxHost is the machine that the agent runs on, in the host's network namespace.
type linuxHost struct{}

func (linuxHost) mtu(address netip.Addr) (int, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, one := range interfaces {
		addresses, err := one.Addrs()
		if err != nil {
			return 0, err
		}
		for _, entry := range addresses {
			if prefix, err := netip.ParsePrefix(entry.String()); err == nil && prefix.Addr() == address {
				return one.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no interface has the node's address %s", address)
}

func (linuxHost) forward() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	// Without it an answer between two pods of one bridge passes by the translation of the Service's address.
	// The file is there once the br_netfilter module is; kube-proxy says it where it is not.
	err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (linuxHost) writeConfiguration(content []byte) error {
	return replaceFile(filepath.Join(configurationFolder, configurationFile), content)
}

// replaceFile writes beside the file and renames, so that nobody reads half of it; an equal file is left alone.
func replaceFile(path string, content []byte) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	// The runtime reads names that end in .conf, .conflist and .json only.
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
