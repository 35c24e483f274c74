"""What `talosctl validate` lets pass and an operator would regret: what this repository's clusters rely on.

The network's part is `talos.lint_network`. Every rule says what follows from the mistake and what to write.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from inventory.model import Role
from talos import lint_network
from talos.documents import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inventory.model import Cluster, Node
    from talos.documents import Configuration, Where

# containerd 2 reads what an operator adds to its configuration from here (Talos v1.11.5, pkg/machinery/constants).
CONTAINERD_PART: Final = "/etc/cri/conf.d/20-customization.part"
# The plugin whose store Spegel serves layers from.
IMAGES_PLUGIN: Final = "io.containerd.cri.v1.images"
# Kubernetes' own load balancers leave nodes with this label out; Cilium's announcements follow it.
EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"


def findings(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Everything that is wrong with a node's configuration although it is valid."""
    yield from lint_network.findings(config, cluster, node)
    yield from _left_to_releases(config)
    yield from _resolvers(config)
    yield from _kept_layers(config)
    yield from _names(config, cluster, node)
    if not cluster.workers:
        yield from _without_workers(config)


def _left_to_releases(config: Configuration) -> Iterator[Finding]:
    """Cilium and CoreDNS come as releases; Talos' own would run beside them."""
    if config.at("cluster", "network", "cni", "name") != "none":
        yield _wanted(("cluster", "network", "cni", "name"), "none", "Talos would deploy flannel beside Cilium")
    if config.at("cluster", "proxy", "disabled") is not True:
        yield _wanted(("cluster", "proxy", "disabled"), "true", "kube-proxy would fight with Cilium over services")
    if config.at("cluster", "coreDNS", "disabled") is not True:
        yield _wanted(("cluster", "coreDNS", "disabled"), "true", "Talos' own kube-dns would keep the chart's address")


def _resolvers(config: Configuration) -> Iterator[Finding]:
    features: Where = ("machine", "features")
    if config.at("machine", "features", "kubePrism", "enabled") is not True:
        why = "Cilium has no way to the API server that does not depend on itself"
        yield _wanted((*features, "kubePrism", "enabled"), "true", why)
    if config.at("machine", "features", "hostDNS", "forwardKubeDNSToHost") is True:
        why = "Cilium's BPF masquerading drops the answers of the host's resolver"
        yield _wanted((*features, "hostDNS", "forwardKubeDNSToHost"), "false", why)


def _kept_layers(config: Configuration) -> Iterator[Finding]:
    files: list[dict[str, Any]] = config.at("machine", "files") or []
    part = next((each for each in files if each.get("path") == CONTAINERD_PART), None)
    remedy = f'[plugins."{IMAGES_PLUGIN}"] with discard_unpacked_layers = false in {CONTAINERD_PART}'
    why = "Spegel has nothing to serve to its neighbours"
    if part is None:
        yield Finding(f"no file {CONTAINERD_PART} keeps unpacked layers: {why}", ("machine", "files"), remedy)
        return
    where: Where = ("machine", "files", files.index(part), "content")
    try:
        plugins = tomllib.loads(str(part.get("content"))).get("plugins", {})
    except tomllib.TOMLDecodeError as error:
        yield Finding(f"{CONTAINERD_PART} is not TOML: {error}", where)
        return
    if plugins.get(IMAGES_PLUGIN, {}).get("discard_unpacked_layers") is not False:
        yield Finding(f"{CONTAINERD_PART} does not keep unpacked layers: {why}", where, remedy)


def _names(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Talos adds a node's own addresses by itself, to the API server also the endpoint's name."""
    wanted = [cluster.endpoint_host, *([str(cluster.virtual_ip)] if cluster.virtual_ip else [])]
    lists: list[tuple[str, ...]] = [("machine", "certSANs")]
    if node.role is Role.CONTROL_PLANE:
        lists.append(("cluster", "apiServer", "certSANs"))
    for path in lists:
        found = config.at(*path) or []
        if missing := [name for name in wanted if name not in found]:
            text = f"`{'.'.join(path)}` lacks {' and '.join(missing)}: whoever asks there refuses the certificate"
            yield Finding(text, path)


def _without_workers(config: Configuration) -> Iterator[Finding]:
    if config.at("cluster", "allowSchedulingOnControlPlanes") is not True:
        why = "the cluster has no workers, and nothing could run"
        yield _wanted(("cluster", "allowSchedulingOnControlPlanes"), "true", why)
    if EXCLUDED in (config.at("machine", "nodeLabels") or {}):
        text = f"the label {EXCLUDED} stays: the cluster has no workers, and no node would announce its services"
        yield Finding(text, ("machine", "nodeLabels", EXCLUDED), f"{EXCLUDED}: {{$patch: delete}}")


def _wanted(where: Where, value: str, why: str) -> Finding:
    name = ".".join(str(part) for part in where)
    return Finding(f"`{name}` is not {value}: {why}", where, f"{name}: {value}")
