"""The step that finds every node of the inventory registered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Changes, Context, Done, Foreseen, Found, KillSafety, Observation, Step, ToDo
from bootstrap.engine.step import Gate
from bootstrap.host.objects import name_of
from inventory.model import Role
from kube.cluster import NODE
from kube.watching import SAFETY_SECONDS, Watched
from phases import machines, sources
from phases.refs import API, NODES, SECRETS
from talos.errors import TalosError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inventory.model import Node
    from kube.cluster import Reading
    from phases.world import World

# The kubelet registers its node within a minute of the API's first answer.
REGISTER_SECONDS: Final = 240.0


def step(world: World) -> Step[None, tuple[str, ...]]:
    """The step `nodes`."""
    return Step(
        name=NODES.name,
        title="Find every node registered",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen(None, _names(world), known_after=API.name),
        actions=partial(_actions, world),
        gate=partial(_gate, world),
        needs=(SECRETS.name, API.name),
        reads=(SECRETS.name, API.name),
        inputs=sources.inventory(world.cluster),
    )


def _probe(world: World, ctx: Context) -> Found[None, tuple[str, ...]]:
    with ctx.outside("request"):
        seen = _look(world, ctx.value(API).api)
    return Done(seen.seen, seen.value) if seen.value else ToDo(None, seen.seen)


def _actions(world: World, ctx: Context, _facts: None) -> Sequence[Action]:
    def restart(node: Node) -> TalosError | None:
        try:
            world.talosctl.restart(str(node.address), ctx.value(SECRETS).talosconfig, "kubelet")
        except TalosError as error:
            return error
        return None

    def restart_all(inner: Context) -> None:
        with inner.outside("request"):
            registered = _registered(ctx.value(API).api)
            late = [node for node in machines.present(world.cluster) if node.name not in registered]
            errors = machines.at_once(late, restart)
        for name, error in errors.items():
            if error:
                # The kubelet asks again by itself; what it lacks is time.
                inner.note(f"the kubelet of {name} was not restarted: {error}")

    return [
        Action(
            description=f"restart the kubelet of {', '.join(_names(world))} where no node is registered yet",
            # Kubernetes 1.34, k8s.io/client-go/util/certificate: after five attempts one every 32 s.
            reason="while no API answered its pauses grew to 32 s, and a fresh one asks for its certificate at once",
            run=restart_all,
            recognised_by="the nodes are registered",
            kill_safety=KillSafety.REPEATABLE,
            changes=Changes.MACHINES,
        )
    ]


def _gate(world: World, ctx: Context) -> Gate[tuple[str, ...]]:
    watched = Watched(lambda: ctx.value(API).api, (NODE, ""))
    return Gate(
        description="every node of the inventory to be registered",
        check=lambda _: _look(world, watched.now()),
        timeout=REGISTER_SECONDS,
        interval=SAFETY_SECONDS,
        watch=watched.watch,
    )


def _look(world: World, api: Reading) -> Observation[tuple[str, ...]]:
    registered, wanted = _registered(api), _names(world)
    missing = [name for name in wanted if name not in registered]
    roles = [node.role for node in world.cluster.nodes if node.name in registered]
    planes = sum(role is Role.CONTROL_PLANE for role in roles)
    seen = f"{planes} control planes and {len(roles) - planes} workers registered"
    if missing:
        return Observation(holds=False, seen=f"{seen}, missing: {', '.join(missing)}")
    return Observation(holds=True, seen=seen, value=wanted)


def _names(world: World) -> tuple[str, ...]:
    return tuple(node.name for node in machines.present(world.cluster))


def _registered(api: Reading) -> frozenset[str]:
    return frozenset(name_of(item) for item in api.list_objects(NODE))
