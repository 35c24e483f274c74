"""The step that reaches the Kubernetes API of every control plane, and the private kubeconfig."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Changes, Context, Done, Foreseen, Found, KillSafety, Observation, Step, ToDo
from bootstrap.engine.step import Gate
from bootstrap.host import yaml_io
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import objects, text
from bootstrap.host.secret import Secret
from phases import foresight, machines, sources
from phases.refs import API, ETCD, SECRETS
from phases.world import Access, Credentials, World
from talos import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inventory.model import Node
    from kube.cluster import Look

# Three images, four processes: half a minute on hardware, 40 to 140 s under emulation. Of three control planes that two
# processors emulate, each API server that gets too little of them gives up after a minute and begins anew.
API_SECONDS: Final = 900.0
# A fresh API server answers, restarts its informers and answers again: three looks in a row.
STEADY: Final = 3
# Seconds between two looks at the Kubernetes API; a look asks each machine once, and four attempts a second are what
# a machine should have to bear.
API_INTERVAL: Final = 0.25


def step(world: World) -> Step[None, Access]:
    """The step `api`."""
    return Step(
        name=API.name,
        title="Reach the Kubernetes API of every control plane",
        probe=partial(_probe, world),
        foresee=lambda _: Foreseen(None, foresight.access(world), known_after=ETCD.name),
        actions=partial(_actions, world),
        gate=partial(_gate, world),
        needs=(SECRETS.name, ETCD.name),
        reads=(SECRETS.name,),
        inputs=sources.inventory(world.cluster),
    )


def _probe(world: World, ctx: Context) -> Found[None, Access]:
    ready, seen = _look(world, ctx)
    written = all(path.exists() for path in (world.kubeconfig, world.talosconfig))
    if written and ready:
        return Done(seen, _access(world, ctx))
    return ToDo(None, seen)


def _actions(world: World, ctx: Context, _facts: None) -> Sequence[Action]:
    credentials = ctx.value(SECRETS)

    def write(_: Context) -> None:
        kubeconfig(world, credentials)
        write_atomically(world.talosconfig, credentials.talosconfig.reveal(), mode=0o600)

    return [
        Action(
            description=f"write {world.kubeconfig.name} and {world.talosconfig.name} of our own identity, mode 0600",
            reason="helm and people read them from files; the user's own files are left alone",
            run=write,
            recognised_by="both files are there and hold this cluster's CA",
            kill_safety=KillSafety.ATOMIC,
            changes=Changes.FILES,
        )
    ]


def _gate(world: World, _ctx: Context) -> Gate[Access]:
    return Gate(
        description="the Kubernetes API of every control plane to be ready",
        check=lambda inner: Observation(*_look(world, inner)),
        times=STEADY,
        interval=API_INTERVAL,
        timeout=API_SECONDS,
    )


def _look(world: World, ctx: Context) -> tuple[bool, str]:
    """Whether each API server is ready, asked at its node's own address, and what they said."""
    access = kubeconfig(world, ctx.value(SECRETS))

    def ask(node: Node) -> tuple[Look, str]:
        api = world.connect(access, server=identity.server(node.address))
        try:
            seen = api.ready()
            return seen, api.identity() if seen.holds else ""
        finally:
            api.close()

    with ctx.outside("request"):
        answers = machines.at_once(machines.present_control_planes(world.cluster), ask)
    for _, uid in answers.values():
        if uid:
            ctx.identify("kube-system UID", uid)
    seen = machines.joined(f"{name}: {look.seen}" for name, (look, _) in answers.items())
    return all(look.holds for look, _ in answers.values()), seen


def _access(world: World, ctx: Context) -> Access:
    return Access(world.connect(kubeconfig(world, ctx.value(SECRETS))), world.kubeconfig)


def kubeconfig(world: World, credentials: Credentials) -> Secret:
    """The private kubeconfig: the file when it is of this cluster, else a new one, written 0600.

    A new one is a new certificate, so the file is kept as long as it fits.
    """
    if world.kubeconfig.exists():
        content = world.kubeconfig.read_bytes()
        if _is_of(content, credentials.bundle.kubernetes_authority):
            return Secret(content, str(world.kubeconfig))
    server = identity.server(world.cluster.bootstrap.address)
    made = identity.kubeconfig(credentials.bundle, cluster=world.cluster.name, server=server)
    write_atomically(world.kubeconfig, made.reveal(), mode=0o600)
    return made


def _is_of(content: bytes, authority: bytes) -> bool:
    document = yaml_io.load(content, source="kubeconfig")
    clusters = objects(document, "clusters") if isinstance(document, dict) else []
    return any(base64.b64decode(text(one, "cluster", "certificate-authority-data")) == authority for one in clusters)
