"""What only a pod can tell: whether the pod network, service routes and names work, each layer by its name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bootstrap.engine import Done, Step, StepRef
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.host.errors import FirstlightError, InputError, Problem
from bootstrap.host.objects import name_of, namespace_of, objects, text
from bootstrap.host.yaml_io import load_file
from inventory.networks import API_PORT
from kube.probe_pod import Word, ask
from phases import machines, sources
from phases.proofs import Proving, kind_of, proving_step
from phases.refs import API, CORE_RELEASES, NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.engine import Context, Found
    from bootstrap.engine.step import AnyStep
    from bootstrap.host.objects import Object
    from inventory.model import Cluster
    from kube.probe_pod import Outcome
    from phases.refs import CoreRelease
    from phases.world import World

PROBE_POD: Final[StepRef[Object]] = StepRef("probe-pod")
POD_NETWORK: Final[StepRef[None]] = StepRef("pod-network")
NAMES: Final[StepRef[None]] = StepRef("names")

_COREDNS: Final = next(one for one in CORE_RELEASES if one.name == "coredns")
# Of the schemes that Git is reached by.
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22}


class Layer(StrEnum):
    """What can be broken."""

    CNI = "the pod network (CNI)"
    SERVICES = "the route to services"
    DNS_INSIDE = "DNS inside the cluster"
    DNS_OUTSIDE = "DNS outside the cluster"
    EGRESS = "the way out of the cluster"


_REMEDIES: Final = {
    Layer.CNI: "kubectl -n kube-system logs daemonset/cilium, then run again",
    Layer.SERVICES: "kubectl -n kube-system logs daemonset/cilium, and kubectl get endpointslices -A; then run again",
    Layer.DNS_INSIDE: "kubectl -n kube-system logs deployment/coredns, then run again",
    Layer.DNS_OUTSIDE: "check that the nodes' own name servers answer: CoreDNS asks those; then run again",
    Layer.EGRESS: "check masquerading and the firewall between nodes and that host; then run again",
}


@dataclass(frozen=True)
class Question:
    """One question to a pod.

    Attributes:
        name: of its container.
        target: `HOST:PORT`.
        criterion: what a connection shows.
        layer: what is broken when there is none.
        unresolved: what is broken when the host has no address; None where it is an address.
    """

    name: str
    target: str
    criterion: str
    layer: Layer
    unresolved: Layer | None = None


@dataclass(frozen=True)
class _Asking:
    """One pod and what it is asked.

    Attributes:
        purpose: tells its pods apart from others'.
        questions: about a cluster.
        dns_policy: see `ask`.
        releases: what the answers are about.
    """

    purpose: str
    questions: Callable[[Cluster], tuple[Question, ...]]
    dns_policy: str
    releases: tuple[CoreRelease, ...]


class UnreachableError(FirstlightError):
    """A pod answered that a layer does not work."""


def steps(world: World) -> tuple[AnyStep, ...]:
    """The steps `probe-pod`, `pod-network` and `names`."""
    network = _Asking(POD_NETWORK.name, network_questions, "Default", (NETWORK,))
    names = _Asking(NAMES.name, name_questions, "ClusterFirst", (NETWORK, _COREDNS))
    return (
        Step(
            name=PROBE_POD.name,
            title="Read the pod that asks",
            probe=partial(_template, world),
            early=True,
            inputs=sources.PROBE,
        ),
        proving_step(
            world,
            Proving(
                name=POD_NETWORK.name,
                title="Pods reach the API, directly and by its service",
                description="ask from a pod for the API at a node's address and at its ClusterIP",
                releases=network.releases,
                prove=partial(_prove, world, network),
                needs=(PROBE_POD.name,),
                may_pass=True,
            ),
        ),
        proving_step(
            world,
            Proving(
                name=NAMES.name,
                title="Pods resolve names inside and outside the cluster",
                description="ask from a pod for CoreDNS at its ClusterIP, a name inside and a name outside",
                releases=names.releases,
                prove=partial(_prove, world, names),
                needs=(PROBE_POD.name,),
                # Where the network does not work, names do not either, and the network is to be named.
                after=(POD_NETWORK.name,),
                may_pass=True,
            ),
        ),
    )


def _template(world: World, _ctx: Context) -> Found[None, Object]:
    item = read_template(world.root)
    return Done(text(item, "spec", "containers", 0, "image"), item)


def read_template(root: Path) -> Object:
    """The pod of `bootstrap/probe.yaml`.

    Raises:
        InputError: it is not a pod with a name, a namespace and one container with an image.
    """
    (file,) = sources.PROBE
    found = load_file(root / file, root=root)
    item = found[0] if len(found) == 1 and isinstance(found[0], dict) else {}
    images = [text(one, "image") for one in objects(item, "spec", "containers")]
    if item.get("kind") != "Pod" or not (name_of(item) and namespace_of(item) and len(images) == 1 and images[0]):
        problem = Problem("it holds one Pod with name, namespace and one container with an image", file)
        raise InputError(f"{file} cannot be used", (problem,))
    return item


def network_questions(cluster: Cluster) -> tuple[Question, ...]:
    """What a pod can be asked before names resolve."""
    node = next(iter(machines.present_control_planes(cluster)), cluster.bootstrap)
    # Kubernetes gives the first address of the service network to its own API (kube-apiserver, kubernetesservice).
    return (
        Question(
            "api-by-address", f"{node.address}:{API_PORT}", "a pod reaches the API at a node's address", Layer.CNI
        ),
        Question(
            "api-by-service", f"{cluster.networks.services[1]}:443", "a pod reaches the API at its ClusterIP",
            Layer.SERVICES,
        ),
    )  # fmt: skip


def name_questions(cluster: Cluster) -> tuple[Question, ...]:
    """What a pod can be asked once CoreDNS runs; the name outside is the one that Flux pulls from."""
    git = urlsplit(cluster.git.url)
    port = git.port or _PORTS.get(git.scheme, _PORTS["https"])
    return (
        Question(
            "dns-by-service", f"{cluster.networks.coredns}:53", "a pod reaches CoreDNS at its ClusterIP",
            Layer.SERVICES,
        ),
        # By the search list, so that the cluster's domain need not be known.
        Question(
            "name-inside", "kubernetes.default.svc:443", "a pod resolves a name inside the cluster",
            Layer.SERVICES, Layer.DNS_INSIDE,
        ),
        Question(
            "name-outside", f"{git.hostname}:{port}", "a pod resolves and reaches a name outside the cluster",
            Layer.EGRESS, Layer.DNS_OUTSIDE,
        ),
    )  # fmt: skip


def judged(questions: Sequence[Question], outcome: Outcome, kind: ProofKind) -> tuple[Proof, ...]:
    """What a pod's answers show.

    Args:
        questions: in the order of the layers: the first that is broken is named.
        outcome: of the pod that was asked them.
        kind: of the proofs, where they can be given.

    Raises:
        UnreachableError: a layer does not work; it is named.
    """
    if not outcome.has_network:
        raise _broken(Layer.CNI, f"{_place(outcome)} got no network", outcome.hindrance)
    if not outcome.answers:
        return tuple(
            Proof(one.criterion, f"the pod could not ask: {outcome.hindrance}", ProofKind.UNPROVEN) for one in questions
        )
    for one in questions:
        answer = outcome.answers[one.name]
        if answer.word is Word.DNS and one.unresolved:
            raise _broken(
                one.unresolved, f"{_place(outcome)} cannot resolve {one.target.rsplit(':', 1)[0]}", answer.said
            )
        if answer.word is not Word.CONNECTED:
            raise _broken(one.layer, f"{_place(outcome)} cannot connect to {one.target}", answer.said)
    return tuple(Proof(one.criterion, f"{one.target} from {_place(outcome)}", kind) for one in questions)


def _place(outcome: Outcome) -> str:
    return f"a pod on {outcome.node}" if outcome.node else "a pod"


def _broken(layer: Layer, fact: str, said: str) -> UnreachableError:
    return UnreachableError(f"{layer} does not work: {fact}", cause=f"the pod said: {said}", remedy=_REMEDIES[layer])


def _prove(world: World, one: _Asking, ctx: Context) -> tuple[Proof, ...]:
    questions = one.questions(world.cluster)
    outcome = ask(
        ctx, ctx.value(API).api, ctx.value(PROBE_POD), {each.name: each.target for each in questions},
        purpose=one.purpose, dns_policy=one.dns_policy, seconds=world.cluster.probe_seconds,
    )  # fmt: skip
    return judged(questions, outcome, kind_of(world, one.releases))
