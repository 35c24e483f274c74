"""The gate before core: the cluster's endpoint, by its name, from where the nodes stand.

Cilium asks the API at that name before there is a pod network, so a name that does not resolve there, another
cluster's API behind it, or an address that Cilium itself would have to announce first leaves it waiting for ever.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bootstrap.engine import Foreseen, StepRef
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.host.errors import FirstlightError
from bootstrap.host.objects import Object, mapping
from bootstrap.host.secret import Secret
from kube.errors import KubeError, KubeErrorKind
from kube.probe_pod import Outcome, Word, ask
from phases import sources
from phases.proofs import Proving, proving_step
from phases.reachability import read_template
from phases.refs import API, NODES

if TYPE_CHECKING:
    from bootstrap.engine import Context, Step
    from inventory.model import Cluster
    from kube.cluster import Cluster as KubernetesApi
    from phases.world import World

ENDPOINT: Final[StepRef[None]] = StepRef("endpoint")
REACHED: Final = "a node reaches the cluster's endpoint by its name"
OURS: Final = "the API of this cluster answers at the endpoint"


class EndpointError(FirstlightError):
    """Cilium could not ask the API at the cluster's endpoint."""


def step(world: World) -> Step[str, None]:
    """The step `endpoint`; it needs nodes that are registered, and no pod network."""
    made = proving_step(
        world,
        Proving(
            name=ENDPOINT.name,
            title="A node reaches the endpoint that Cilium will ask",
            description=f"ask from a node's own network for {_target(world.cluster)}",
            releases=(),
            prove=partial(_prove, world),
            needs=(NODES.name,),
            inputs=(*sources.PROBE, *sources.inventory(world.cluster)),
        ),
    )
    return replace(made, foresee=lambda _: Foreseen("no proof is kept", None, known_after=API.name))


def on_the_node(template: Object) -> Object:
    """A pod that asks in the network of its node, which may have no pod network yet."""
    tolerations: Object = {"hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
    return {**template, "spec": {**mapping(template, "spec"), **tolerations}}


def reached(cluster: Cluster, outcome: Outcome) -> Proof:
    """What the pod's answer shows.

    Raises:
        EndpointError: the name does not resolve there, or nobody answers.
    """
    target = _target(cluster)
    if not outcome.answers:
        return Proof(REACHED, f"the pod could not ask: {outcome.hindrance}", ProofKind.UNPROVEN)
    answer = outcome.answers[ENDPOINT.name]
    if answer.word is Word.CONNECTED:
        return Proof(REACHED, f"{target} from {outcome.node}")
    if answer.word is Word.DNS:
        raise EndpointError(
            f"{cluster.endpoint_host} does not resolve on {outcome.node}, and Cilium asks for the API there",
            cause=f"the pod said: {answer.said}",
            remedy=f"make {', '.join(map(str, cluster.networks.nameservers))} answer that name; then run again",
        )
    raise EndpointError(
        f"nobody answers at {target} for {outcome.node}, and Cilium asks for the API there",
        cause=f"the pod said: {answer.said}",
        remedy="let the name lead to the control planes or to their virtual IP; an address that Cilium announces "
        "answers only once Cilium runs",
    )  # fmt: skip


def ours(cluster: Cluster, there: KubernetesApi, identity: str) -> Proof:
    """Whose API answers at the endpoint, asked from here; the connection trusts the cluster's own authority alone.

    Args:
        cluster: whose endpoint it is.
        there: connected to the endpoint.
        identity: of the cluster, asked at a node's address.

    Raises:
        EndpointError: another API answers.
    """
    try:
        found = there.identity()
    except KubeError as error:
        if error.kind is not KubeErrorKind.FOREIGN:
            return Proof(OURS, f"it could not be asked from here: {error.cause}", ProofKind.UNPROVEN)
        raise _foreign(cluster, error.cause) from None
    if found != identity:
        raise _foreign(cluster, f"kube-system there is {found}, here {identity}")
    return Proof(OURS, f"{cluster.endpoint} is {identity}")


def _foreign(cluster: Cluster, cause: str) -> EndpointError:
    return EndpointError(
        f"another API than this cluster's answers at {cluster.endpoint}",
        cause=cause,
        remedy=f"correct what {cluster.endpoint_host} resolves to, or `endpoint` in {cluster.source}",
    )


def _prove(world: World, ctx: Context) -> tuple[Proof, ...]:
    cluster, access = world.cluster, ctx.value(API)
    outcome = ask(
        ctx, access.api, on_the_node(read_template(world.root)), {ENDPOINT.name: _target(cluster)},
        purpose=ENDPOINT.name, dns_policy="Default",
    )  # fmt: skip
    first = reached(cluster, outcome)
    kubeconfig = Secret(access.kubeconfig.read_bytes(), str(access.kubeconfig))
    there = world.connect(kubeconfig, server=cluster.endpoint)
    try:
        with ctx.outside("request"):
            return first, ours(cluster, there, access.api.identity())
    finally:
        there.close()


def _target(cluster: Cluster) -> str:
    return urlsplit(cluster.endpoint).netloc
