"""The phase `talos`: machine configuration, install, etcd, and the Kubernetes API of every control plane."""

from __future__ import annotations

import base64
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
from bootstrap.engine.retry import row_of
from bootstrap.engine.retry_table import Again
from bootstrap.engine.step import Gate, is_transient
from bootstrap.host import yaml_io
from bootstrap.host.errors import FirstlightError
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import name_of, objects, text
from bootstrap.host.secret import Secret
from inventory.model import Role
from kube.cluster import NODE
from kube.watching import SAFETY_SECONDS, Watched
from phases import foresight, sources
from phases.preflight import MACHINE_INTERVAL, SLOWEST_MACHINE_LOOK, see_machine
from phases.refs import API, ETCD, INSTALL, MACHINES, NODES, RENDER, SECRETS
from phases.world import Access, Credentials, World
from talos import identity
from talos.errors import Kind, TalosError
from talos.machineconfig import render
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inventory.model import Node
    from kube.cluster import Reading
    from talos.client import ServiceState

# Install, reboot and boot: 70 s under emulation, 120 s and a slow power-on self-test on hardware.
INSTALL_SECONDS: Final = 420.0
# Pulling etcd's image and starting it: 6 s after the image is there, a slow registry included.
ETCD_SECONDS: Final = 300.0
# Three images, four processes: 100 to 140 s under emulation.
API_SECONDS: Final = 400.0
# Time sync and CRI come up within 20 s of a boot; NTP through a slow firewall takes longer.
BOOTSTRAPPABLE_SECONDS: Final = 180.0
# The kubelet registers its node within a minute of the API's first answer.
REGISTER_SECONDS: Final = 240.0
# A fresh API server answers, restarts its informers and answers again: three looks in a row.
STEADY: Final = 3
# Seconds between two looks at the Kubernetes API, first and later; a look asks each machine once, and
# four attempts a second are what a machine should have to bear.
API_INTERVAL: Final = 0.25
SLOWEST_API_LOOK: Final = 0.5
# What Talos writes when it takes a bootstrap (v1.11.5, pkg/system/services/etcd.go); a reboot takes both away, the
# line and the intent. `Preparing` alone says nothing: it is also how etcd waits to be bootstrapped.
BOOTSTRAP_TAKEN: Final = "service[etcd](Finished): Bootstrap requested"


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
