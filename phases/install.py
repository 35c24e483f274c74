"""The step that configures every machine: what is in maintenance mode gets its configuration, all are waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    Step,
    ToDo,
)
from bootstrap.engine.retry import row_of
from bootstrap.engine.step import Gate, is_transient
from bootstrap.host.errors import FirstlightError, Problem
from phases import machines, offering, quorum, sources
from phases.refs import INSTALL, MACHINES, RENDER, SECRETS
from talos.comparison import differences
from talos.errors import TalosError
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inventory.model import Node
    from phases.world import Credentials, World
    from talos.probe import Observation as Seen

# Install, reboot and boot: 70 s under emulation, 120 s and a slow power-on self-test on hardware.
INSTALL_SECONDS: Final = 420.0
# Boots of one machine within one wait: an install makes one, a firmware update on the way another.
MOST_BOOTS: Final = 3
# Lines of the console that a person reads first.
CONSOLE_LINES: Final = 5
# Stages in which a machine runs from its disk and takes part in the cluster; the others end in a reboot.
INSTALLED_STAGES: Final = frozenset({"booting", "running"})


def step(world: World) -> Step[Left, None]:
    """The step `install`."""
    return Step(
        name=INSTALL.name,
        title="Configure and install every machine",
        probe=partial(_probe, world),
        foresee=partial(_foreseen, world),
        actions=partial(_actions, world),
        gate=partial(_gate, world),
        needs=(SECRETS.name, RENDER.name, MACHINES.name),
        reads=(SECRETS.name, RENDER.name),
        inputs=sources.machines(world.cluster),
    )


class MachineFailedError(FirstlightError):
    """A machine that took its configuration does not come up with it."""


@dataclass(frozen=True)
class Left:
    """What is left to do.

    Attributes:
        waiting: names of the nodes in maintenance mode.
        changed: where nodes run with another configuration than their files give, by name, while there is no etcd
            yet. Later a change is for whoever runs the cluster to bring about, node by node.
    """

    waiting: tuple[str, ...]
    changed: Mapping[str, str] = field(default_factory=dict)


def _probe(world: World, ctx: Context) -> Found[Left, None]:
    credentials = ctx.value(SECRETS)
    with ctx.outside("request"):
        seen = machines.see_machines(world, credentials)
    foreign = machines.in_state(seen, State.FOREIGN)
    if foreign:
        return Conflict(
            "machines are configured with the secrets of another cluster",
            problems=tuple(Problem(f"{name}: {seen[name].detail}") for name in foreign),
            remedy="check their addresses in the inventory; this tool never resets a machine that is not its own",
        )
    ours = [node for node in machines.present(world.cluster) if seen[node.name].state is State.OURS]
    with ctx.outside("request"):
        stages, changed = machines.both(
            lambda: machines.at_once(ours, partial(_stage, world, credentials)),
            lambda: _changed(world, ctx, ours),
        )
        is_born = bool(changed) and quorum.is_born(world, credentials)
    for name, places in changed.items() if is_born else ():
        ctx.note(f"{name} runs with another configuration than its files give, and is left as it is: {places}")
    return _judged(world, seen, stages, {} if is_born else changed)


def _judged(
    world: World, seen: Mapping[str, Seen], stages: Mapping[str, str], changed: Mapping[str, str]
) -> Found[Left, None]:
    waiting = machines.in_state(seen, State.MAINTENANCE)
    away = [f"{name}: {stage}" for name, stage in stages.items() if stage not in INSTALLED_STAGES]
    if len(stages) < len(seen):
        return ToDo(Left(waiting, changed), f"in maintenance mode: {', '.join(waiting) or 'none, but not all answer'}")
    if away or changed:
        other = [f"{name}: another configuration in {places}" for name, places in changed.items()]
        return ToDo(Left(waiting, changed), machines.joined((*away, *other)))
    return Done(f"every machine answers with a certificate of this cluster{machines.absence(world.cluster)}", None)


def _stage(world: World, credentials: Credentials, node: Node) -> str:
    return world.talosctl.machine_status(str(node.address), credentials.talosconfig).stage


def _changed(world: World, ctx: Context, nodes: Sequence[Node]) -> dict[str, str]:
    """Where the configurations that nodes run with differ from the rendered ones; paths, never values."""
    wanted, talosconfig = ctx.value(RENDER), ctx.value(SECRETS).talosconfig

    def compare(node: Node) -> str:
        live = world.talosctl.machine_config(str(node.address), talosconfig)
        return ", ".join(differences(wanted[node.name], live))

    return {name: places for name, places in machines.at_once(nodes, compare).items() if places}


def _foreseen(world: World, _ctx: Context) -> Foreseen[Left, None]:
    every = tuple(node.name for node in machines.present(world.cluster))
    return Foreseen(Left(every), None, known_after=MACHINES.name)


def _actions(world: World, ctx: Context, left: Left) -> Sequence[Action]:
    return [
        _first(world, ctx, node) if node.name in left.waiting else _further(world, ctx, node, left.changed[node.name])
        for node in machines.present(world.cluster)
        if node.name in left.waiting or node.name in left.changed
    ]


def _first(world: World, ctx: Context, node: Node) -> Action:
    config = ctx.value(RENDER)[node.name]
    return Action(
        description=f"apply the machine configuration to {node.name} at {node.maintenance_address}",
        reason="it is in maintenance mode",
        run=partial(offering.give, world, ctx.value(SECRETS), node, config),
        recognised_by="the machine answers with a certificate of this cluster",
        changes=Changes.MACHINES,
        kill_safety=KillSafety.ATOMIC,
        preview=lambda _: world.talosctl.try_insecure(str(node.maintenance_address), config),
    )


def _further(world: World, ctx: Context, node: Node, places: str) -> Action:
    config, talosconfig = ctx.value(RENDER)[node.name], ctx.value(SECRETS).talosconfig

    def run(inner: Context) -> None:
        try:
            world.talosctl.apply(str(node.address), talosconfig, config)
        except TalosError as error:
            if not row_of(error).effect:
                raise
            inner.note(f"{error}; whether it took effect, its configuration will tell")

    return Action(
        description=f"apply the changed machine configuration to {node.name} at {node.address}",
        reason=f"it runs with another one, and there is no etcd yet: {places}",
        run=run,
        recognised_by="the machine's own configuration equals the rendered one",
        changes=Changes.MACHINES,
        kill_safety=KillSafety.ATOMIC,
    )


def _gate(world: World, ctx: Context) -> Gate[None]:
    return Gate(
        description="every machine to come back installed, with a certificate of this cluster",
        check=_Installing(world, ctx.value(SECRETS)),
        transient=lambda error: is_transient(error) and not isinstance(error, MachineFailedError),
        interval=machines.MACHINE_INTERVAL,
        timeout=INSTALL_SECONDS,
        remedy="look at the machine's console: the install disk and the installer's registry are the usual causes",
    )


class _Installing:
    """Follows all machines through install, reboot and boot; remembers who left maintenance mode, and every boot."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self._world = world
        self._credentials = credentials
        self._left: set[str] = set()
        self._boots: dict[str, set[str]] = {}
        self._back: set[str] = set()

    def __call__(self, ctx: Context) -> Observation[None]:
        nodes = machines.present(self._world.cluster)
        lines = machines.at_once(nodes, self._look)
        seen = machines.joined(line for _, line in lines.values())
        if not all(ready for ready, _ in lines.values()):
            return Observation(holds=False, seen=seen)
        # What takes a reboot is only stored until then.
        stale = _changed(self._world, ctx, nodes)
        if stale and not quorum.is_born(self._world, self._credentials):
            return Observation(holds=False, seen=f"still with another configuration: {', '.join(stale)}")
        return Observation(holds=True, seen=seen)

    def _look(self, node: Node) -> tuple[bool, str]:
        # Who came back is asked without another handshake before, so that a look stays cheap for the machine.
        if node.name in self._back:
            return self._booted(node)
        seen = machines.see_machine(self._world, self._credentials, node)
        if seen.state is State.OURS:
            self._back.add(node.name)
            return self._booted(node)
        if seen.state in {State.CLOSED, State.SILENT}:
            self._left.add(node.name)
            return False, f"{node.name}: installing or rebooting ({seen.detail})"
        if seen.state is State.MAINTENANCE and node.name in self._left:
            raise MachineFailedError(
                f"{node.name} is in maintenance mode again",
                cause="its install failed and it rebooted",
                remedy="look at its console; then run the same command again",
            )
        return False, f"{node.name}: {seen.detail}"

    def _booted(self, node: Node) -> tuple[bool, str]:
        try:
            boot = self._world.talosctl.boot_id(str(node.address), self._credentials.talosconfig)
            boots = self._boots.setdefault(node.name, set())
            boots.add(boot)
            if len(boots) > MOST_BOOTS:
                raise self._loops(node)
            stage = _stage(self._world, self._credentials, node)
        except TalosError as error:
            self._back.discard(node.name)
            return False, f"{node.name}: {error}"
        if stage not in INSTALLED_STAGES:
            return False, f"{node.name}: {stage}"
        return True, f"{node.name}: installed, {stage}"

    def _loops(self, node: Node) -> MachineFailedError:
        try:
            log = self._world.talosctl.kernel_log(str(node.address), self._credentials.talosconfig)
            console = " / ".join(log.splitlines()[-CONSOLE_LINES:])
        except TalosError as error:
            console = str(error)
        return MachineFailedError(
            f"{node.name} reboots again and again: {len(self._boots[node.name])} boots in one wait",
            cause=f"the last lines of its console: {console}",
            remedy="look at its console; then run the same command again",
        )
