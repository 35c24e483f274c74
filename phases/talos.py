"""The phase `talos`: machine configuration, install, etcd, and the Kubernetes API of every control plane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Context, Done, Foreseen, Found, Observation, Phase, Step, ToDo
from bootstrap.engine.step import Gate
from bootstrap.host.objects import name_of
from bootstrap.host.secret import Secret
from inventory.model import Role
from kube.cluster import NODE
from kube.watching import SAFETY_SECONDS, Watched
from phases import controlplane, endpoint, etcd, install, machines, network, serving, sources
from phases.refs import API, NODES, RENDER, SECRETS
from talos.machineconfig import render_all
from talos.preview import Previews

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.cluster import Reading
    from phases.world import World

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
                foresee=partial(_render_foreseen, world),
                needs=(SECRETS.name,),
                early=True,
                inputs=sources.machines(world.cluster),
            ),
            install.step(world),
            network.step(world),
            etcd.step(world),
            controlplane.step(world),
            endpoint.step(world),
            Step(
                name=NODES.name,
                title="Find every node registered",
                probe=partial(_nodes_probe, world),
                foresee=partial(_nodes_foreseen, world),
                gate=partial(_nodes_gate, world),
                needs=(API.name,),
                inputs=sources.inventory(world.cluster),
            ),
            serving.step(world),
        ),
    )


def _render(world: World, ctx: Context) -> Found[None, Mapping[str, Secret]]:
    bundle = ctx.value(SECRETS).bundle.secret
    configs = render_all(world.talosctl, world.cluster, bundle, root=world.root, overlays=world.overlays)
    return Done(_rendered(world, ctx, len(configs)), configs)


def _render_foreseen(world: World, ctx: Context) -> Foreseen[None, Mapping[str, Secret]]:
    """As previews, which are kept: what secrets would be filled in decides nothing."""
    if world.cache is None:
        bundle = ctx.value(SECRETS).bundle.secret
        configs = render_all(world.talosctl, world.cluster, bundle, root=world.root, overlays=world.overlays)
    else:
        program, folder = world.programs["talosctl"], world.cache / "configurations"
        previews = Previews(program, world.talosctl, world.cluster, world.root, folder, world.overlays)
        shown = previews.show(machines.present(world.cluster))
        configs = {name: Secret(text, f"the machine configuration of {name}") for name, text in shown.items()}
    return Foreseen(None, configs, done=True, summary=_rendered(world, ctx, len(configs)))


def _rendered(world: World, ctx: Context, count: int) -> str:
    for overlay in world.overlays:
        ctx.note(f"over the cluster's own files: {overlay}")
    return f"{count} valid for metal, warnings taken as errors"


def _nodes_probe(world: World, ctx: Context) -> Found[None, tuple[str, ...]]:
    with ctx.outside("request"):
        seen = _registered(world, ctx.value(API).api)
    return Done(seen.seen, seen.value) if seen.value else ToDo(None, seen.seen)


def _nodes_foreseen(world: World, _ctx: Context) -> Foreseen[None, tuple[str, ...]]:
    return Foreseen(None, tuple(node.name for node in machines.present(world.cluster)), known_after=API.name)


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
    wanted = machines.present(world.cluster)
    missing = [node.name for node in wanted if node.name not in names]
    roles = [node.role for node in world.cluster.nodes if node.name in names]
    planes = sum(role is Role.CONTROL_PLANE for role in roles)
    seen = f"{planes} control planes and {len(roles) - planes} workers registered"
    if missing:
        return Observation(holds=False, seen=f"{seen}, missing: {', '.join(missing)}")
    return Observation(holds=True, seen=seen, value=tuple(node.name for node in wanted))
