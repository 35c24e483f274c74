"""The phase `talos`: machine configuration, install, etcd, and the Kubernetes API of every control plane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import (
    Action,
    Changes,
    Conflict,
    Context,
    Done,
    Foreseen,
    Found,
    KillSafety,
    Observation,
    Phase,
    Step,
    ToDo,
)
from bootstrap.engine.step import Gate, is_transient
from bootstrap.host.errors import FirstlightError
from bootstrap.host.objects import name_of
from inventory.model import Role
from kube.cluster import NODE
from kube.watching import SAFETY_SECONDS, Watched
from phases import controlplane, sources
from phases.preflight import MACHINE_INTERVAL, SLOWEST_MACHINE_LOOK, see_machine
from phases.refs import API, INSTALL, MACHINES, NODES, RENDER, SECRETS
from talos.machineconfig import render
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.host.secret import Secret
    from inventory.model import Node
    from kube.cluster import Reading
    from phases.world import Credentials, World

# Install, reboot and boot: 70 s under emulation, 120 s and a slow power-on self-test on hardware.
INSTALL_SECONDS: Final = 420.0
# The kubelet registers its node within a minute of the API's first answer.
REGISTER_SECONDS: Final = 240.0


def phase(world: World) -> Phase:
    """The phase `talos`."""
    budget = world.cluster.budgets["talos"]
    return Phase(
        name="talos",
        title="Install Talos and start the control plane",
        number=-1,
        target=budget.target,
        deadline=budget.deadline,
        steps=(
            Step(
                name=RENDER.name,
                title="Render and validate machine configurations",
                probe=partial(_render, world),
                needs=(SECRETS.name,),
                early=True,
                inputs=sources.machines(world.cluster),
            ),
            Step(
                name=INSTALL.name,
                title="Configure and install every machine",
                probe=partial(_install_probe, world),
                foresee=partial(_install_foreseen, world),
                actions=partial(_install_actions, world),
                gate=partial(_install_gate, world),
                needs=(SECRETS.name, RENDER.name, MACHINES.name),
                inputs=sources.machines(world.cluster),
            ),
            *controlplane.steps(world),
            Step(
                name=NODES.name,
                title="Find every node registered",
                probe=partial(_nodes_probe, world),
                foresee=partial(_nodes_foreseen, world),
                gate=partial(_nodes_gate, world),
                needs=(API.name,),
                inputs=sources.inventory(world.cluster),
            ),
        ),
    )


def _render(world: World, ctx: Context) -> Found[None, Mapping[str, Secret]]:
    bundle = ctx.value(SECRETS).bundle.secret
    configs = {
        node.name: render(world.talosctl, world.cluster, node, bundle, root=world.root, overlays=world.overlays)
        for node in world.cluster.nodes
    }
    for overlay in world.overlays:
        ctx.note(f"over the cluster's own files: {overlay}")
    return Done(f"{len(configs)} valid for metal, warnings taken as errors", configs)


def _install_probe(world: World, ctx: Context) -> Found[tuple[str, ...], None]:
    with ctx.outside("request"):
        states = {node: see_machine(world, ctx.value(SECRETS), node).state for node in world.cluster.nodes}
    foreign = [node.name for node, state in states.items() if state is State.FOREIGN]
    if foreign:
        return Conflict(f"{', '.join(foreign)} answers with the secrets of another cluster")
    if all(state is State.OURS for state in states.values()):
        return Done("every machine answers with a certificate of this cluster", None)
    waiting = tuple(node.name for node, state in states.items() if state is State.MAINTENANCE)
    return ToDo(waiting, f"in maintenance mode: {', '.join(waiting) or 'none, but not all answer'}")


def _install_foreseen(world: World, _ctx: Context) -> Foreseen[tuple[str, ...], None]:
    return Foreseen(tuple(node.name for node in world.cluster.nodes), None, known_after=MACHINES.name)


def _install_actions(world: World, ctx: Context, waiting: tuple[str, ...]) -> Sequence[Action]:
    configs = ctx.value(RENDER)

    def apply(node: Node, _: Context) -> None:
        world.talosctl.apply_insecure(str(node.maintenance_address), configs[node.name])

    def preview(node: Node, _: Context) -> str:
        return world.talosctl.try_insecure(str(node.maintenance_address), configs[node.name])

    return [
        Action(
            description=f"apply the machine configuration to {node.name} at {node.maintenance_address}",
            reason="it is in maintenance mode",
            run=partial(apply, node),
            recognised_by="the machine answers with a certificate of this cluster",
            changes=Changes.MACHINES,
            kill_safety=KillSafety.ATOMIC,
            preview=partial(preview, node),
        )
        for node in world.cluster.nodes
        if node.name in waiting
    ]


def _install_gate(world: World, ctx: Context) -> Gate[None]:
    credentials = ctx.value(SECRETS)
    left: set[str] = set()

    def check(_: Context) -> Observation[None]:
        lines = [_installing(world, credentials, node, left) for node in world.cluster.nodes]
        return Observation(all(ready for ready, _ in lines), "; ".join(line for _, line in lines))

    return Gate(
        description="every machine to come back installed, with a certificate of this cluster",
        check=check,
        transient=lambda error: is_transient(error) and not isinstance(error, InstallFailedError),
        interval=MACHINE_INTERVAL,
        slowest=SLOWEST_MACHINE_LOOK,
        timeout=INSTALL_SECONDS,
        remedy="look at the machine's console: the install disk and the installer's registry are the usual causes",
    )


def _installing(world: World, credentials: Credentials, node: Node, left: set[str]) -> tuple[bool, str]:
    """Whether a machine is back, and what it does; `left` remembers who has left maintenance mode."""
    seen = see_machine(world, credentials, node)
    if seen.state is State.OURS:
        return True, f"{node.name}: installed"
    if seen.state in {State.CLOSED, State.SILENT}:
        left.add(node.name)
        return False, f"{node.name}: installing or rebooting ({seen.detail})"
    if seen.state is State.MAINTENANCE and node.name in left:
        raise InstallFailedError(
            f"{node.name} is in maintenance mode again",
            cause="its install failed and it rebooted",
            remedy="look at its console; then run the same command again",
        )
    return False, f"{node.name}: {seen.detail}"


class InstallFailedError(FirstlightError):
    """A machine that took its configuration could not install it."""


def _nodes_probe(world: World, ctx: Context) -> Found[None, tuple[str, ...]]:
    with ctx.outside("request"):
        seen = _registered(world, ctx.value(API).api)
    return Done(seen.seen, seen.value) if seen.value else ToDo(None, seen.seen)


def _nodes_foreseen(world: World, _ctx: Context) -> Foreseen[None, tuple[str, ...]]:
    return Foreseen(None, tuple(node.name for node in world.cluster.nodes), known_after=API.name)


def _nodes_gate(world: World, ctx: Context) -> Gate[tuple[str, ...]]:
    watched = Watched(lambda: ctx.value(API).api, (NODE, ""))
    return Gate(
        description="every node of the inventory to be registered",
        check=lambda _: _registered(world, watched.now()),
        timeout=REGISTER_SECONDS,
        interval=SAFETY_SECONDS,
        watch=watched.watch,
    )


def _registered(world: World, api: Reading) -> Observation[tuple[str, ...]]:
    names = {name_of(item) for item in api.list_objects(NODE)}
    wanted = tuple(node.name for node in world.cluster.nodes)
    missing = [name for name in wanted if name not in names]
    roles = [node.role for node in world.cluster.nodes if node.name in names]
    planes = sum(role is Role.CONTROL_PLANE for role in roles)
    seen = f"{planes} control planes and {len(roles) - planes} workers registered"
    if missing:
        return Observation(holds=False, seen=f"{seen}, missing: {', '.join(missing)}")
    return Observation(holds=True, seen=seen, value=wanted)
