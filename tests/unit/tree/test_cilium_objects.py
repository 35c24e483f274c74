"""What the tree gives Cilium beside its release: pools, L2 announcements and BGP, for clusters that share a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.objects import flag, mapping, name_of, objects, text
from bootstrap.host.yaml_io import load_file
from inventory.loader import load
from tests.unit.tree.rendered import ROOT

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from gitops.tree import Tree

SHARED = ("infra", "apps")
GROUP = "cilium.io"

in_both = pytest.mark.parametrize("cluster", SHARED)


def of_kind(trees: dict[str, Tree], cluster: str, kind: str) -> dict[str, Object]:
    return {name_of(item): item for _, item in trees[cluster].of_kind(GROUP, kind)}


@in_both
def test_each_cluster_knows_both_pools_and_hands_out_its_own(trees: dict[str, Tree], cluster: str) -> None:
    pools = of_kind(trees, cluster, "CiliumLoadBalancerIPPool")
    assert {name for name, pool in pools.items() if not flag(pool, "spec", "disabled")} == {cluster}
    for name in SHARED:
        blocks = objects(pools[name], "spec", "blocks")
        told = [(text(block, "start"), text(block, "stop")) for block in blocks]
        assert told == [(str(start), str(stop)) for start, stop in load(ROOT, name).pools]


@in_both
def test_each_cluster_peers_with_the_router_as_its_settings_say(trees: dict[str, Tree], cluster: str) -> None:
    (settings,) = load_file(ROOT / f"kubernetes/clusters/{cluster}/cluster-settings.yaml")
    ((_, peering),) = of_kind(trees, cluster, "CiliumBGPClusterConfig").items()
    (instance,) = objects(peering, "spec", "bgpInstances")
    (peer,) = objects(instance, "peers")
    told = (text(instance, "localASN"), text(peer, "peerASN"), text(peer, "peerAddress"))
    names = ("CILIUM_BGP_LOCAL_ASN", "CILIUM_BGP_PEER_ASN", "CILIUM_BGP_PEER_ADDRESS")
    assert told == tuple(text(mapping(settings, "data"), name) for name in names)
    assert "/" not in text(peer, "peerAddress"), "the definition takes an address, no network"


@in_both
def test_what_peers_are_told_is_found_by_its_labels(trees: dict[str, Tree], cluster: str) -> None:
    ((_, peering),) = of_kind(trees, cluster, "CiliumBGPClusterConfig").items()
    (instance,) = objects(peering, "spec", "bgpInstances")
    (peer,) = objects(instance, "peers")
    told = of_kind(trees, cluster, "CiliumBGPPeerConfig")[text(peer, "peerConfigRef", "name")]
    (family,) = objects(told, "spec", "families")
    wanted = mapping(family, "advertisements", "matchLabels")
    advertisements = of_kind(trees, cluster, "CiliumBGPAdvertisement").values()
    found = [one for one in advertisements if wanted.items() <= mapping(one, "metadata", "labels").items()]
    kinds = [text(each, "advertisementType") for one in found for each in objects(one, "spec", "advertisements")]
    assert kinds == ["PodCIDR", "Service"]


@in_both
def test_the_order_is_cilium_then_pools_then_what_announces_them(trees: dict[str, Tree], cluster: str) -> None:
    needs = {one.name.name: {name.name for name in one.depends_on} for one in trees[cluster].kustomizations}
    assert needs["cilium-ipam"] == {"cilium-core"}
    assert needs["cilium-l2"] == needs["cilium-bgp"] == {"cilium-ipam"}
