"""The step that waits for the definitions that Cilium's operator registers at run time: no chart has them.

They are there when the API serves their kinds, which discovery tells in one small answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Done, Foreseen, Observation, Step, StepRef, ToDo
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from bootstrap.host.objects import flag, objects, text
from gitops.releases import release
from kube.cluster import CUSTOM_RESOURCE_DEFINITION
from phases import sources
from phases.proofs import kind_of
from phases.refs import API, FILES, NETWORK

if TYPE_CHECKING:
    from bootstrap.engine import Context, Found
    from gitops.tree import Tree
    from kube.cluster import Cluster, Look
    from phases.world import World

CILIUM_DEFINITIONS: Final[StepRef[None]] = StepRef("cilium-definitions")
GROUP: Final = "cilium.io"
# Seconds; the operator registers them within some seconds of becoming the leader, under emulation of a minute.
REGISTERED_SECONDS: Final = 180.0
# Reasons beyond these are no clearer.
_SHOWN: Final = 3


@dataclass(frozen=True)
class Definition:
    """A kind that the operator registers.

    Attributes:
        kind: its name.
        plural: the beginning of its definition's name.
        switch: the chart's value without which it is not registered, as a path; empty means always.
    """

    kind: str
    plural: str
    switch: tuple[str, ...] = ()


_BGP: Final = ("bgpControlPlane", "enabled")
# What agents wait for before they start (cilium, pkg/k8s/synced/crd.go), as far as a cluster of ours has such objects
# or a gate looks at them.
DEFINITIONS: Final = (
    Definition("CiliumCIDRGroup", "ciliumcidrgroups"),
    Definition("CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies"),
    Definition("CiliumEndpoint", "ciliumendpoints"),
    Definition("CiliumIdentity", "ciliumidentities"),
    Definition("CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies"),
    Definition("CiliumLoadBalancerIPPool", "ciliumloadbalancerippools"),
    Definition("CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    Definition("CiliumNode", "ciliumnodes"),
    Definition("CiliumNodeConfig", "ciliumnodeconfigs"),
    Definition("CiliumBGPAdvertisement", "ciliumbgpadvertisements", _BGP),
    Definition("CiliumBGPClusterConfig", "ciliumbgpclusterconfigs", _BGP),
    Definition("CiliumBGPNodeConfig", "ciliumbgpnodeconfigs", _BGP),
    Definition("CiliumBGPNodeConfigOverride", "ciliumbgpnodeconfigoverrides", _BGP),
    Definition("CiliumBGPPeerConfig", "ciliumbgppeerconfigs", _BGP),
)


def step(world: World) -> Step[None, None]:
    """The step `cilium-definitions`."""
    return Step(
        name=CILIUM_DEFINITIONS.name,
        title="See the definitions that Cilium registers",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen(None, None, known_after=NETWORK.name),
        gate=partial(_gate, world),
        needs=(FILES.name, API.name, NETWORK.name),
        reads=(FILES.name, API.name),
        inputs=sources.tree(world.cluster),
    )


def wanted(tree: Tree) -> tuple[Definition, ...]:
    """The definitions that must be there for the chart's values in a tree.

    Raises:
        InputError: the tree has no usable release of Cilium.
    """
    values = release(tree, NETWORK.name).values
    return tuple(one for one in DEFINITIONS if not one.switch or flag(values, *one.switch))


def registered(api: Cluster, tree: Tree) -> Look:
    """Whether the API serves every kind that a tree needs of Cilium, in the versions in which it has objects of them.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    definitions = wanted(tree)
    own = {
        (text(item, "apiVersion"), text(item, "kind"))
        for _, item in tree.objects()
        if text(item, "apiVersion").partition("/")[0] == GROUP
    }
    served = {one for one in api.discover() if one[0].partition("/")[0] == GROUP}
    kinds = {kind for _, kind in served}
    absent = [one for one in definitions if one.kind not in kinds]
    missing = [f"{version} {kind}, of which the tree has objects, is not served" for version, kind in own - served]
    missing += [_reason(api, one) for one in absent[:_SHOWN]]
    count = f"{len(definitions) - len(absent)} of {len(definitions)} kinds of Cilium served"
    return Observation(not missing, "; ".join([count, *missing]))


def _reason(api: Cluster, one: Definition) -> str:
    name = f"{one.plural}.{GROUP}"
    live = api.get(CUSTOM_RESOURCE_DEFINITION, name)
    if live is None:
        return f"{name} is not registered by the operator"
    said = [text(each, "message") for each in objects(live, "status", "conditions") if text(each, "status") == "False"]
    return f"{name} is not served{f': {said[0]}' if said else ''}"


def _probe(world: World, ctx: Context) -> Found[None, None]:
    with ctx.outside("request"):
        look = registered(ctx.value(API).api, ctx.value(FILES))
    return Done(look.seen, None, _proofs(world, look)) if look.holds else ToDo(None, look.seen)


def _gate(world: World, ctx: Context) -> Gate[None]:
    def check(_: Context) -> Observation[None]:
        look = registered(ctx.value(API).api, ctx.value(FILES))
        return Observation(look.holds, look.seen, proofs=_proofs(world, look))

    return Gate(
        description="Cilium's operator to register its definitions",
        check=check,
        timeout=REGISTERED_SECONDS,
        remedy=f"kubectl -n {NETWORK.namespace} logs deployment/cilium-operator",
    )


def _proofs(world: World, look: Look) -> tuple[Proof, ...]:
    if not look.holds:
        return ()
    return (Proof("Cilium's operator registered its definitions", look.seen, kind_of(world, (NETWORK,))),)
