"""The step that asks Spegel on every node, and whether the node keeps what Spegel has to serve.

Spegel fails silently: containerd asks the registry itself when the mirror does not answer or has no layer. So both are
looked at from outside: the mirror at its port of the host, and the configuration that containerd reads.
"""

from __future__ import annotations

import http.client
import tomllib
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from bootstrap.engine import Conflict, Done, Foreseen, Observation, Skip, Step, StepRef, ToDo
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import Gate
from bootstrap.host.errors import ExitCode, Problem
from bootstrap.host.objects import number
from gitops.releases import release
from phases import machines, sources
from phases.proofs import kind_of
from phases.refs import CORE_RELEASES, FILES, SECRETS, core_releases

if TYPE_CHECKING:
    from bootstrap.engine import Context, Found
    from inventory.model import Node
    from phases.world import World

MIRROR: Final[StepRef[None]] = StepRef("mirror")
SPEGEL: Final = next(one for one in CORE_RELEASES if one.name == "spegel")
# What Talos merges all parts into, /etc/cri/conf.d/20-customization.part among them, for containerd to read (talos,
# internal/app/machined/pkg/controllers/files, CRIConfigPartsController).
CONTAINERD: Final = "/etc/cri/conf.d/cri.toml"
_IMAGES: Final = "io.containerd.cri.v1.images"
# Seconds; it answers from memory, on the local network.
ANSWER_SECONDS: Final = 3.0
# Seconds; its pods are ready before, and a host port is open within some seconds of that.
MIRROR_SECONDS: Final = 120.0
_ABSENT: Final = "the tree has no HelmRelease spegel"
_ANSWERS: Final = "the image mirror answers on every node"
_KEEPS: Final = "containerd keeps unpacked layers on every node"


class Ask(Protocol):
    """Asks a registry at an address."""

    def __call__(self, address: str, port: int) -> str:
        """What keeps it from being a registry; empty when it is one."""


def ask_registry(address: str, port: int) -> str:
    """Ask whether a registry's API is at an address (OCI distribution specification, end-1); see `Ask`."""
    connection = http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/v2/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if status == HTTPStatus.OK else f"it answers {status}"


def step(world: World, ask: Ask = ask_registry) -> Step[None, None]:
    """The step `mirror`; skipped where the tree has no Spegel."""
    return Step(
        name=MIRROR.name,
        title="Ask the image mirror on every node",
        probe=partial(_probe, world, ask),
        foresee=_foreseen,
        gate=partial(_gate, world, ask),
        needs=(FILES.name, SECRETS.name, SPEGEL.name),
        inputs=(*sources.machines(world.cluster), *sources.tree(world.cluster)),
    )


def keeps_layers(config: str) -> bool:
    """Whether containerd keeps the layers that it has unpacked, as it does unless it is told otherwise.

    Raises:
        ValueError: the configuration is no TOML.
    """
    plugin = tomllib.loads(config).get("plugins", {}).get(_IMAGES, {})
    return not plugin.get("discard_unpacked_layers", False)


def _foreseen(ctx: Context) -> Foreseen[None, None]:
    if SPEGEL not in core_releases(ctx.value(FILES)):
        return Foreseen(None, None, done=True, summary=_ABSENT)
    return Foreseen(None, None, known_after=SPEGEL.name)


def _probe(world: World, ask: Ask, ctx: Context) -> Found[None, None]:
    if SPEGEL not in core_releases(ctx.value(FILES)):
        return Skip(_ABSENT, None)
    discarding = [node for node in machines.present(world.cluster) if not _keeps(world, ctx, node)]
    if discarding:
        return Conflict(
            "containerd discards the layers that Spegel has to serve",
            problems=tuple(
                Problem(f"{node.name}: {CONTAINERD} says discard_unpacked_layers = true") for node in discarding
            ),
            remedy="set it to false in a part of /etc/cri/conf.d (talos/base.yaml) and reboot the node",
            exit_code=ExitCode.FAILED,
        )
    look = _look(world, ask, ctx)
    return Done(look.seen, None, look.proofs) if look.holds else ToDo(None, look.seen)


def _keeps(world: World, ctx: Context, node: Node) -> bool:
    talosconfig = ctx.value(SECRETS).talosconfig
    with ctx.outside("command"):
        content = world.talosctl.read(str(node.address), talosconfig, CONTAINERD)
    return keeps_layers(content.decode())


def _gate(world: World, ask: Ask, ctx: Context) -> Gate[None]:
    return Gate(
        description="the image mirror to answer on every node",
        check=lambda _: _look(world, ask, ctx),
        timeout=MIRROR_SECONDS,
        remedy=f"kubectl -n {SPEGEL.namespace} get pods -o wide, and the firewall between here and the nodes",
    )


def _look(world: World, ask: Ask, ctx: Context) -> Observation[None]:
    port = number(release(ctx.value(FILES), SPEGEL.name).values, "service", "registry", "hostPort")
    nodes = machines.present(world.cluster)
    with ctx.outside("request"):
        silent = {node.name: said for node in nodes if (said := ask(str(node.address), port))}
    seen = f"{len(nodes) - len(silent)} of {len(nodes)} nodes have a registry at port {port}"
    why = "; ".join([seen, *(f"{name}: {said}" for name, said in silent.items())])
    kept = Proof(_KEEPS, f"{CONTAINERD} of {len(nodes)} nodes does not discard them")
    return Observation(not silent, why, proofs=(Proof(_ANSWERS, seen, kind_of(world, (SPEGEL,))), kept))
