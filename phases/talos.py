"""The phase `talos`: machine configuration, install, etcd, and the Kubernetes API of every control plane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bootstrap.engine import Context, Done, Foreseen, Found, Phase, Step
from bootstrap.host.secret import Secret
from phases import controlplane, endpoint, etcd, install, machines, network, nodes, serving, sources
from phases.refs import RENDER, SECRETS
from talos.machineconfig import render_all
from talos.preview import Previews

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.world import World


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
            nodes.step(world),
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
