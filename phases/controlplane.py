"""The steps that start the control plane: etcd, once in a cluster's life, and the Kubernetes API of every node."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Final

from bootstrap.engine import Action, Changes, Context, Done, Foreseen, Found, KillSafety, Observation, Step, ToDo
from bootstrap.engine.retry import row_of
from bootstrap.engine.retry_table import Again
from bootstrap.engine.step import Gate
from bootstrap.host import yaml_io
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import objects, text
from bootstrap.host.secret import Secret
from phases import foresight, sources
from phases.preflight import MACHINE_INTERVAL, SLOWEST_MACHINE_LOOK
from phases.refs import API, ETCD, INSTALL, SECRETS
from phases.world import Access, Credentials, World
from talos import identity
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.engine.step import AnyStep
    from inventory.model import Node
    from talos.client import ServiceState

# Pulling etcd's image and starting it: 6 s after the image is there, a slow registry included.
ETCD_SECONDS: Final = 300.0
# Three images, four processes: 100 to 140 s under emulation.
API_SECONDS: Final = 400.0
# Time sync and CRI come up within 20 s of a boot; NTP through a slow firewall takes longer.
BOOTSTRAPPABLE_SECONDS: Final = 180.0
# A fresh API server answers, restarts its informers and answers again: three looks in a row.
STEADY: Final = 3
# Seconds between two looks at the Kubernetes API, first and later; a look asks each machine once, and
# four attempts a second are what a machine should have to bear.
API_INTERVAL: Final = 0.25
SLOWEST_API_LOOK: Final = 0.5
# What Talos writes when it takes a bootstrap (v1.11.5, pkg/system/services/etcd.go); a reboot takes both away, the
# line and the intent. `Preparing` alone says nothing: it is also how etcd waits to be bootstrapped.
BOOTSTRAP_TAKEN: Final = "service[etcd](Finished): Bootstrap requested"


def steps(world: World) -> tuple[AnyStep, ...]:
    """The steps, in their order."""
    return (
        Step(
            name=ETCD.name,
            title="Start etcd on the bootstrap node",
            probe=partial(_etcd_probe, world),
            foresee=lambda _: Foreseen("not bootstrapped", None, known_after=INSTALL.name),
            actions=partial(_etcd_actions, world),
            gate=partial(_etcd_gate, world),
            needs=(SECRETS.name, INSTALL.name),
            inputs=sources.inventory(world.cluster),
        ),
        Step(
            name=API.name,
            title="Reach the Kubernetes API of every control plane",
            probe=partial(_api_probe, world),
            foresee=lambda _: Foreseen(None, foresight.access(world), known_after=ETCD.name),
            actions=partial(_api_actions, world),
            gate=partial(_api_gate, world),
            needs=(SECRETS.name, ETCD.name),
            inputs=sources.inventory(world.cluster),
        ),
    )


def _etcd_probe(world: World, ctx: Context) -> Found[str, None]:
    node = world.cluster.bootstrap
    try:
        service = world.talosctl.services(str(node.address), ctx.value(SECRETS).talosconfig).get("etcd")
        if service and service.healthy:
            return Done(f"etcd on {node.name} is {service.state} and healthy", None)
        taken = _is_taken(world, str(node.address), ctx.value(SECRETS).talosconfig)
    except TalosError as error:
        return ToDo(str(error), f"etcd on {node.name} cannot be asked yet: {error}")
    seen = _service_text(service)
    return ToDo("" if taken else seen, f"etcd on {node.name}: {'bootstrapped, ' if taken else ''}{seen}")


def _is_taken(world: World, address: str, talosconfig: Secret) -> bool:
    """Whether a node has taken a bootstrap since it booted."""
    return BOOTSTRAP_TAKEN in world.talosctl.kernel_log(address, talosconfig)


def _etcd_actions(world: World, ctx: Context, seen: str) -> Sequence[Action]:
    """What was seen of etcd, empty when it was bootstrapped and only has to come up."""
    if not seen:
        return []
    node = world.cluster.bootstrap
    address, talosconfig = str(node.address), ctx.value(SECRETS).talosconfig

    def send(inner: Context) -> None:
        inner.wait(
            Gate(
                description=f"{node.name} to take the bootstrap",
                check=lambda _: _try_bootstrap(world, address, talosconfig),
                interval=MACHINE_INTERVAL,
                slowest=SLOWEST_MACHINE_LOOK,
                timeout=BOOTSTRAPPABLE_SECONDS,
                remedy=f"check that {', '.join(world.cluster.networks.time_servers)} answers {node.name}",
            )
        )

    return [
        Action(
            description=f"bootstrap etcd on {node.name}",
            reason=f"etcd there is {seen}",
            run=send,
            recognised_by="etcd is healthy there and has the node as its member",
            changes=Changes.MACHINES,
            # The pinned node itself refuses a second one as soon as its data directory has content.
            kill_safety=KillSafety.ONCE,
        )
    ]


def _try_bootstrap(world: World, address: str, talosconfig: Secret) -> Observation[None]:
    try:
        # An answer that was lost is not asked for again: a second bootstrap is taken as well, until etcd has data.
        if _is_taken(world, address, talosconfig):
            return Observation(holds=True, seen="taken before")
        world.talosctl.bootstrap(address, talosconfig)
    except TalosError as error:
        if error.kind is Kind.ALREADY_EXISTS:
            return Observation(holds=True, seen="etcd has data there already")
        if row_of(error).again is not Again.NEVER:
            return Observation(holds=False, seen=str(error))
        raise
    return Observation(holds=True, seen="taken")


def _etcd_gate(world: World, ctx: Context) -> Gate[None]:
    node = world.cluster.bootstrap
    talosconfig = ctx.value(SECRETS).talosconfig

    def check(_: Context) -> Observation[None]:
        service = world.talosctl.services(str(node.address), talosconfig).get("etcd")
        if not service or not service.healthy:
            return Observation(holds=False, seen=_service_text(service))
        members = world.talosctl.etcd_members(str(node.address), talosconfig)
        names = ", ".join(f"{member.hostname}{' (learner)' if member.learner else ''}" for member in members)
        return Observation(any(member.hostname == node.name for member in members), f"healthy, members: {names}")

    return Gate(
        description=f"etcd on {node.name} to be healthy",
        check=check,
        interval=MACHINE_INTERVAL,
        slowest=SLOWEST_MACHINE_LOOK,
        timeout=ETCD_SECONDS,
    )


def _service_text(service: ServiceState | None) -> str:
    if service is None:
        return "not known to the machine yet"
    return f"{service.state}: {service.event}" if service.event else service.state


def _api_probe(world: World, ctx: Context) -> Found[None, Access]:
    seen = [_ready(world, ctx, node) for node in world.cluster.control_planes]
    written = all(path.exists() for path in (world.kubeconfig, world.talosconfig))
    if written and all(ready for ready, _ in seen):
        return Done("; ".join(line for _, line in seen), _access(world, ctx))
    return ToDo(None, "; ".join(line for _, line in seen))


def _api_actions(world: World, ctx: Context, _facts: None) -> Sequence[Action]:
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


def _api_gate(world: World, _ctx: Context) -> Gate[Access]:
    def check(inner: Context) -> Observation[Access]:
        seen = [_ready(world, inner, node) for node in world.cluster.control_planes]
        return Observation(all(ready for ready, _ in seen), "; ".join(line for _, line in seen))

    return Gate(
        description="the Kubernetes API of every control plane to be ready",
        check=check,
        times=STEADY,
        interval=API_INTERVAL,
        slowest=SLOWEST_API_LOOK,
        timeout=API_SECONDS,
    )


def _ready(world: World, ctx: Context, node: Node) -> tuple[bool, str]:
    api = world.connect(kubeconfig(world, ctx.value(SECRETS)), server=identity.server(node.address))
    try:
        with ctx.outside("request"):
            seen = api.ready()
            if seen.holds:
                ctx.identify("kube-system UID", api.identity())
    finally:
        api.close()
    return seen.holds, f"{node.name}: {seen.seen}"


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
