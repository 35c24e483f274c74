package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// operator registers the definitions that the chart does not have and keeps them there.
type operator struct {
	api   *kubernetes
	log   *slog.Logger
	state state
}

func (o *operator) run(ctx context.Context) {
	// A definition that somebody deletes is back within half a minute; before the first success ask each second.
	every(ctx, 30*time.Second, time.Second, func(ctx context.Context) error {
		err := o.once(ctx)
		if err != nil {
			o.log.Info("definitions are not all there", "reason", err.Error())
		}
		o.state.set(err)
		return err
	})
}

func (o *operator) once(ctx context.Context) error {
	for _, one := range definitions {
		if err := o.ensure(ctx, one); err != nil {
			return fmt.Errorf("%s: %w", one.name(), err)
		}
	}
	return nil
}

func (o *operator) ensure(ctx context.Context, one definition) error {
	err := o.api.call(ctx, http.MethodGet, definitionsPath+"/"+one.name(), "", nil, nil)
	var status *statusError
	if err == nil || !errors.As(err, &status) || status.code != http.StatusNotFound {
		return err
	}
	err = o.api.call(ctx, http.MethodPost, definitionsPath, "application/json", one.object(), nil)
	if errors.As(err, &status) && status.code == http.StatusConflict {
		return nil // another replica was faster
	}
	if err == nil {
		o.log.Info("registered", "definition", one.name())
	}
	return err
}

// definition is a kind of cilium.io; the last version is the one that is stored.
type definition struct {
	kind       string
	plural     string
	namespaced bool
	versions   []string
}

func (d definition) name() string { return d.plural + ".cilium.io" }

// object is the CustomResourceDefinition, with a schema that takes everything.
func (d definition) object() map[string]any {
	scope := "Cluster"
	if d.namespaced {
		scope = "Namespaced"
	}
	versions := make([]any, 0, len(d.versions))
	for i, version := range d.versions {
		open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		versions = append(versions, map[string]any{
			"name": version, "served": true, "storage": i == len(d.versions)-1,
			"schema":       map[string]any{"openAPIV3Schema": open},
			"subresources": map[string]any{"status": map[string]any{}},
		})
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": d.name(), "labels": map[string]any{"io.cilium.k8s.crd.schema.version": "lab"}},
		"spec": map[string]any{
			"group": "cilium.io",
			"scope": scope,
			"names": map[string]any{
				"kind": d.kind, "listKind": d.kind + "List",
				"plural": d.plural, "singular": strings.ToLower(d.kind),
			},
			"versions": versions,
		},
	}
}

// definitions are those of Cilium 1.18 that a cluster of ours has objects of, with their versions and scopes.
var definitions = []definition{
	{"CiliumNetworkPolicy", "ciliumnetworkpolicies", true, []string{"v2"}},
	{"CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", false, []string{"v2"}},
	{"CiliumCIDRGroup", "ciliumcidrgroups", false, []string{"v2alpha1", "v2"}},
	{"CiliumEndpoint", "ciliumendpoints", true, []string{"v2"}},
	{"CiliumIdentity", "ciliumidentities", false, []string{"v2"}},
	{"CiliumNode", "ciliumnodes", false, []string{"v2"}},
	{"CiliumNodeConfig", "ciliumnodeconfigs", true, []string{"v2alpha1", "v2"}},
	{"CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", false, []string{"v2alpha1", "v2"}},
	{"CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies", false, []string{"v2alpha1"}},
	{"CiliumBGPClusterConfig", "ciliumbgpclusterconfigs", false, []string{"v2alpha1", "v2"}},
	{"CiliumBGPPeerConfig", "ciliumbgppeerconfigs", false, []string{"v2alpha1", "v2"}},
	{"CiliumBGPAdvertisement", "ciliumbgpadvertisements", false, []string{"v2alpha1", "v2"}},
	{"CiliumBGPNodeConfig", "ciliumbgpnodeconfigs", false, []string{"v2alpha1", "v2"}},
	{"CiliumBGPNodeConfigOverride", "ciliumbgpnodeconfigoverrides", false, []string{"v2alpha1", "v2"}},
}
