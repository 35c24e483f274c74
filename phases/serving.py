"""The step that approves kubelets' serving certificates, where machine configurations let kubelets ask for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import (
    Action,
    Changes,
    Context,
    Done,
    Foreseen,
    Found,
    KillSafety,
    Observation,
    Skip,
    Step,
    ToDo,
)
from bootstrap.engine.step import Gate
from bootstrap.host.objects import text
from kube import serving
from kube.cluster import NODE
from phases import machines, sources
from phases.refs import API, NODES, RENDER, SERVING
from talos import documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.host.objects import Object
    from inventory.model import Node
    from kube.cluster import Cluster as KubernetesApi
    from kube.cluster import Reading
    from phases.world import World

# A kubelet asks once it has registered its node, and again with growing pauses.
ASKED_SECONDS: Final = 180.0
# Kubernetes forgets approved requests after an hour (kube-controller-manager, csrcleaner): whoever registered before
# that, and has none left, was served.
FORGOTTEN: Final = timedelta(hours=1)
_NOTHING: Final = "no machine configuration sets rotate-server-certificates: kubelets sign for themselves"


def step(world: World) -> Step[tuple[str, ...], None]:
    """The step `serving-certificates`."""
    return Step(
        name=SERVING.name,
        title="Approve the serving certificates of kubelets",
        probe=partial(_probe, world),
        foresee=partial(_foreseen, world),
        actions=partial(_actions, world),
        needs=(RENDER.name, API.name, NODES.name),
        reads=(RENDER.name, API.name),
        inputs=sources.machines(world.cluster),
    )


def _asking(world: World, ctx: Context) -> tuple[str, ...]:
    """The nodes whose kubelets ask for a serving certificate."""
    configs = ctx.value(RENDER)
    path = ("machine", "kubelet", "extraArgs", "rotate-server-certificates")
    return tuple(
        node.name
        for node in machines.present(world.cluster)
        if documents.parse(configs[node.name]).at(*path) in {True, "true"}
    )


def _probe(world: World, ctx: Context) -> Found[tuple[str, ...], None]:
    asking = _asking(world, ctx)
    if not asking:
        return Skip(_NOTHING, None)
    with ctx.outside("request"):
        api = ctx.value(API).api
        requests = serving.requests(api)
        left = tuple(name for name in asking if not _is_served(api, name, requests.get(name, [])))
    if left:
        return ToDo(left, f"not approved yet: {', '.join(left)}")
    return Done(f"{len(asking)} kubelets have their serving certificates approved", None)


def _is_served(api: Reading, node: str, requests: Sequence[Object]) -> bool:
    if requests:
        return any(serving.APPROVED in serving.conditions(each) for each in requests)
    registered = text(api.get(NODE, node) or {}, "metadata", "creationTimestamp")
    return bool(registered) and datetime.now(UTC) - datetime.fromisoformat(registered) > FORGOTTEN


def _foreseen(world: World, ctx: Context) -> Foreseen[tuple[str, ...], None]:
    asking = _asking(world, ctx)
    if not asking:
        return Foreseen((), None, done=True, summary=_NOTHING)
    return Foreseen(asking, None, known_after=NODES.name)


def _actions(world: World, ctx: Context, left: tuple[str, ...]) -> Sequence[Action]:
    def approve(node: Node, inner: Context) -> None:
        inner.wait(
            Gate(
                description=f"the kubelet of {node.name} to ask for its own serving certificate",
                check=lambda _: _approve(world, ctx.value(API).api, node),
                timeout=ASKED_SECONDS,
            )
        )

    return [
        Action(
            description=f"approve the serving certificate of the kubelet on {node.name}",
            reason="nobody else does, and logs, exec and metrics need it",
            run=partial(approve, node),
            recognised_by="the request is approved",
            kill_safety=KillSafety.ATOMIC,
            changes=Changes.CLUSTER,
        )
        for node in machines.present(world.cluster)
        if node.name in left
    ]


def _approve(world: World, api: KubernetesApi, node: Node) -> Observation[None]:
    requests = serving.requests(api).get(node.name, [])
    if any(serving.APPROVED in serving.conditions(each) for each in requests):
        return Observation(holds=True, seen="approved")
    refused: list[str] = []
    for item in requests:
        if serving.conditions(item):
            continue
        found = serving.objections(item, node.name, frozenset({str(node.address)}))
        refused += found
        message = f"name and address are those of {world.cluster.source}"
        if not found and api.approve(serving.approved(item, message=message)):
            return Observation(holds=True, seen="approved")
    return Observation(holds=False, seen=", ".join(refused) or "it has not asked yet")
