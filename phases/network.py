"""The step that proves each node's own network, so that a missing LACP partner is named before Cilium is blamed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Context, Done, Foreseen, Found, Observation, Step, ToDo
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from phases import machines, sources
from phases.refs import INSTALL, MACHINE_NETWORK, RENDER, SECRETS
from talos import bonding, documents, wiring
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from bootstrap.host.secret import Secret
    from inventory.model import Node
    from phases.world import World

# A switch takes up to 30 s to begin with LACP on a port that came up, and rings are set while the node boots.
NETWORK_SECONDS: Final = 90.0
# Seconds between two looks, each of up to four questions to a node.
NETWORK_INTERVAL: Final = 1.0
# Seconds without a break: LACP at its fast rate gives a partner up after three.
STABLE_SECONDS: Final = 3.0
CRITERION: Final = "every node's network is as its configuration declares it"


def step(world: World) -> Step[None, None]:
    """The step `network`."""
    return Step(
        name=MACHINE_NETWORK.name,
        title="Prove every node's own network",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen(None, None, known_after=INSTALL.name),
        gate=partial(_gate, world),
        needs=(SECRETS.name, RENDER.name, INSTALL.name),
        reads=(SECRETS.name, RENDER.name),
        inputs=sources.machines(world.cluster),
    )


def _probe(world: World, ctx: Context) -> Found[None, None]:
    with ctx.outside("request"):
        holds, seen = _look(world, ctx)
    return Done(seen, None, (Proof(CRITERION, seen),)) if holds else ToDo(None, seen)


def _gate(world: World, _ctx: Context) -> Gate[None]:
    def check(ctx: Context) -> Observation[None]:
        return Observation(*_look(world, ctx))

    return Gate(
        description="every node's network to be as its configuration declares it",
        check=check,
        interval=NETWORK_INTERVAL,
        stable=STABLE_SECONDS,
        timeout=NETWORK_SECONDS,
        remedy="mend cables, switch ports or machine configuration as was seen; then run the same command again",
    )


def _look(world: World, ctx: Context) -> tuple[bool, str]:
    configs, talosconfig = ctx.value(RENDER), ctx.value(SECRETS).talosconfig

    def ask(node: Node) -> tuple[bool, str]:
        wanted = wiring.declared(documents.parse(configs[node.name]))
        try:
            shown = _shown(world, str(node.address), talosconfig, wanted)
        except TalosError as error:
            return False, str(error)
        found = list(wiring.differences(wanted, shown, node))
        return not found, ", ".join(found) or wiring.summary(shown) or "as declared"

    answers = machines.at_once(machines.present(world.cluster), ask)
    seen = machines.joined(f"{name}: {text}" for name, (_, text) in answers.items())
    return all(holds for holds, _ in answers.values()), seen


def _shown(world: World, address: str, talosconfig: Secret, wanted: wiring.Declared) -> wiring.Shown:
    talosctl = world.talosctl
    # At once: an emulated machine takes half a second for each answer.
    with ThreadPoolExecutor(thread_name_prefix=current_thread().name) as pool:
        links = pool.submit(talosctl.links, address, talosconfig)
        routes = pool.submit(talosctl.routes, address, talosconfig)
        rings = pool.submit(talosctl.rings, address, talosconfig) if wanted.rings else None
        bonds = {name: pool.submit(_bond, world, address, talosconfig, name) for name in wanted.bonds}
    return wiring.Shown(
        links={link.name: link for link in links.result()},
        bonds={name: bond for name, asked in bonds.items() if (bond := asked.result())},
        routes=routes.result(),
        rings=rings.result() if rings else {},
    )


def _bond(world: World, address: str, talosconfig: Secret, name: str) -> bonding.Bond | None:
    try:
        content = world.talosctl.read(address, talosconfig, f"/proc/net/bonding/{name}")
    except TalosError as error:
        if error.kind is Kind.NOT_FOUND:
            return None
        raise
    return bonding.parse(content.decode("utf-8", "replace"))
