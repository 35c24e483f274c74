"""One command of an operator in a scripted world: the real session, phases and engine, fakes at the seams only."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.engine.interrupts import exiting
from bootstrap.engine.plan import performed
from bootstrap.host import process
from bootstrap.host.clock import SystemClock
from bootstrap.host.commands import Command, CommandError, CommandRunner, Result
from bootstrap.host.errors import FirstlightError
from bootstrap.views import readers
from bootstrap.views.failure import render_failure
from bootstrap.views.plan import as_json
from inventory.loader import load
from kube.lease import KubeLease
from phases import endpoint, plan, session
from tests.scripted.clock import VirtualClock
from tests.scripted.cluster import ScriptedCluster
from tests.scripted.endpoint import Endpoint
from tests.scripted.ring import Ring
from tests.scripted.runner import PROGRAMS, ScriptedRunner
from tests.scripted.trap import FullDisk, Snare, Trap, TrappedJournal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from bootstrap.host.secret import Redactor, Secret
    from phases.world import World
    from talos.probe import Observation


@dataclass(frozen=True)
class Order:
    """What a process of its own is to do.

    Attributes:
        place: folder of the scenario.
        name: of this process; its output lies under it.
        world: the world's file; two operators share one.
        trap: what ends the run.
        request: fields of the session's request, for example `accept_changed_plan`.
        plan: make a plan in place of a run.
        live: let the plan look at the world.
        jump: virtual seconds that pass at once when the n-th command is asked for: command's number, seconds.
        hang: number of the command that never answers until all are killed.
        disk_full: number of the journal's write from which on the disk is full; 0 is never.
        broken_pipe: whether nobody reads standard error.
        report: whether the reports are written, which take a fifth of a run's time.
        boot: the kernel's id of the boot, for a machine that is another one; empty is this one.
        after: begin only once this file is there.
        hold: helmfile answers only once this file is there.
        answers: questions that are noted are answered only once this file is there.
        skew: seconds by which this machine's clock is ahead.
        environment: variables of the operator's own.
        cluster: name of the cluster.
        real_time: let time pass as it does for everybody.
        questions: whether it is noted in `questions` who asks machines and API server, by the name of the thread.
    """

    place: Path
    name: str
    world: Path
    trap: Trap = field(default_factory=Trap)
    request: dict[str, Any] = field(default_factory=dict)
    plan: bool = False
    live: bool = False
    jump: tuple[int, float] = (0, 0.0)
    hang: int = 0
    disk_full: int = 0
    broken_pipe: bool = False
    report: bool = False
    boot: str = ""
    after: Path | None = None
    hold: Path | None = None
    answers: Path | None = None
    skew: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    cluster: str = "lab"
    real_time: bool = False
    questions: bool = False

    @property
    def root(self) -> Path:
        """The repository."""
        return self.place / "repository"

    @property
    def said(self) -> Path:
        """What this process said: standard output and error, and files about it."""
        return self.place / "said" / self.name


def in_child(order: Order) -> None:
    """Carry out an order as the whole work of a process."""
    order.said.mkdir(parents=True)
    temporary = order.place / "temporary"
    temporary.mkdir(exist_ok=True)
    tempfile.tempdir = str(temporary)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (order.said / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    if order.broken_pipe:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 2)
    os.environ.update(order.environment)
    (order.said / "ready").touch()
    _await(order.after)
    # As the command line has it around everything.
    with exiting():
        sys.exit(_Conduct(order).exit_code())


def _await(file: Path | None) -> None:
    while file and not file.exists():
        time.sleep(0.0005)  # so short that two who wait begin at once


class _Conduct:
    """One command in a scripted world."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._clock: VirtualClock | SystemClock = SystemClock() if order.real_time else VirtualClock()
        self._ring = Ring(order.world, self._clock.monotonic)
        if isinstance(self._clock, VirtualClock):
            self._clock.advance(max(0.0, self._ring.model.now - self._clock.monotonic()))
        self._snare = Snare(order.trap, order.said / "trapped", self._ring.model.still)
        self._ring.model.tells(self._snare.effect)
        self._cluster = load(order.root, order.cluster)

    def exit_code(self) -> int:
        """Carry it out."""
        self._take_seams()
        order = self._order
        command = f"./invoke bootstrap --cluster {order.cluster}"
        request = session.Request(order.root, order.place / "cache", self._cluster, command, **order.request)
        try:
            if order.plan:
                planned = plan.look_ahead(request, live=order.live)
                (order.said / "announced.json").write_text(json.dumps(planned.announced))
                (order.said / "plan.json").write_text(as_json(planned))
                return int(planned.exit_code)
            verdict = session.run(request)
        except FirstlightError as error:
            sys.stderr.write(f"{render_failure(error)}\n")
            return int(error.exit_code)
        (order.said / "performed.json").write_text(json.dumps(performed(verdict)))
        (order.said / "seconds.json").write_text(json.dumps({one.name: one.seconds for one in verdict.phases}))
        return int(verdict.exit_code)

    def _take_seams(self) -> None:
        """Put the fakes in place; the process ends with the command, so nothing is put back."""
        order = self._order
        TrappedJournal.snare, TrappedJournal.disk = self._snare, FullDisk(order.disk_full)
        seams: list[tuple[ModuleType, str, object]] = [
            (session, "AwakeClock", lambda: contextlib.nullcontext(self._clock)),
            (session, "Journal", TrappedJournal),
            (session, "KubeLease", partial(KubeLease, now=self._clock.monotonic)),
            (endpoint, "ask_api", Endpoint(self._cluster, self._ring).answer),
            *((module, "ShCommandRunner", self._runner) for module in (session, plan)),
            *((module, "open_world", self._world) for module in (session, plan)),
        ]
        if not order.report:
            seams.append((readers, "ReportWriter", lambda *_: _Deaf()))
        for module, name, seam in seams:
            assert hasattr(module, name), f"{module.__name__} has no {name} to put a fake in its place"
            setattr(module, name, seam)
        if order.skew:
            right = time.time
            time.time = lambda: right() + order.skew
        if order.boot:
            (order.said / "boot_id").write_text(order.boot)
            process.BOOT_FILE = order.said / "boot_id"

    def _runner(self, redactor: Redactor, **_: str) -> _Told:
        order = self._order
        runner = ScriptedRunner(order.root, self._cluster, self._ring, redactor)
        return _Told(runner, order, self._clock, self._asks)

    def _world(self, request: session.Request, runner: CommandRunner, _: object, redactor: Redactor) -> World:
        programs = {name: Path("/programs") / name for name in PROGRAMS}
        world = session._world(request, runner, redactor, programs)
        return dataclasses.replace(world, observe=self._observe, connect=self._connect)

    def _observe(self, address: str, authority: bytes) -> Observation:
        self._asks()
        return self._ring.machines.observe(address, authority)

    def _connect(self, kubeconfig: Secret, *, server: str = "", permit: Callable[[], None] = lambda: None) -> Any:
        cluster = _Permitted(ScriptedCluster(self._ring, self._clock, kubeconfig, server), permit)
        return _Asked(cluster, self._asks) if self._order.questions else cluster

    def _asks(self) -> None:
        if self._order.questions:
            with (self._order.said / "questions").open("a") as file:
                file.write(f"{threading.current_thread().name}\n")
            _await(self._order.answers)


class _Deaf:
    """A reader of events that does nothing."""

    def read(self, stamped: object) -> None:
        """Nothing."""


class _Permitted:
    """An API server that is written to with a permit only."""

    def __init__(self, cluster: ScriptedCluster, permit: Callable[[], None]) -> None:
        self._cluster = cluster
        self._permit = permit

    def __getattr__(self, name: str) -> Any:
        if name in {"apply", "approve", "swap", "try_create"}:
            self._permit()
        return getattr(self._cluster, name)


class _Asked:
    """An API server of which every question is noted."""

    def __init__(self, cluster: _Permitted, asks: Callable[[], None]) -> None:
        self._cluster = cluster
        self._asks = asks

    def __getattr__(self, name: str) -> Any:
        if name != "close":
            self._asks()
        return getattr(self._cluster, name)


class _Told:
    """The programs, with a note of every command and faults at chosen ones."""

    def __init__(
        self, runner: ScriptedRunner, order: Order, clock: VirtualClock | SystemClock, asks: Callable[[], None]
    ) -> None:
        self._runner = runner
        self._asks = asks
        self._order = order
        self._clock = clock
        self._count = 0
        self._killed = threading.Event()
        # Line by line, since this process may be killed at any time.
        self._file = (order.said / "commands.jsonl").open("a", buffering=1)

    def run(self, command: Command) -> Result:
        """See `CommandRunner.run`."""
        # What other processes could read of it, for the search for secrets.
        line = json.dumps({"argv": str(command), "environment": dict(command.environment)})
        self._file.write(f"{line}\n")
        self._count += 1
        number, seconds = self._order.jump
        if self._count == number and isinstance(self._clock, VirtualClock):
            self._clock.advance(seconds)
        if self._count == self._order.hang:
            (self._order.said / "hangs").touch()
            self._killed.wait()
            raise CommandError(f"`{command}` was ended by a signal", cause="SIGKILL")
        if command.program.name == "helmfile":
            _await(self._order.hold)
        if any(str(word).startswith("--nodes=") for word in command.arguments):
            self._asks()
        return self._runner.run(command)

    def stop_all(self) -> None:
        """Nothing: what hangs here does not mind."""

    def kill_all(self) -> None:
        """End what hangs."""
        self._killed.set()
