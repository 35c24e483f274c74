"""A whole run in a process of its own, for tests that signal it, stop it, or close its terminal.

The run has everything that a real one has but machines: lock, journal, log, plain lines, and programs.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from bootstrap.engine import Context, Gate, Observation, Phase
from bootstrap.engine.events import Bus
from bootstrap.engine.graph import Graph
from bootstrap.engine.interrupts import delivered_to, exiting
from bootstrap.engine.journal import FILE, Journal
from bootstrap.engine.lock import Owner, RunLock
from bootstrap.engine.meter import Meter
from bootstrap.engine.run import Settings, execute
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import everything
from bootstrap.host.clock import AwakeClock
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import leave, silence_closed
from bootstrap.views.jsonlines import JsonLines
from bootstrap.views.log import LogFile
from bootstrap.views.plain import PlainLines
from tests.unit.engine.world import World, holds_at_look, phase, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine.events import Reader
    from bootstrap.engine.step import AnyStep

SHELL: Final = Path(shutil.which("sh") or "/bin/sh")
# A variable of every program that a run starts, by which a test finds those that are left.
TOKEN: Final = "FIRSTLIGHT_TEST_TOKEN"
GENTLE: Final = "sleep 60"
# How many of them a run starts.
ENDLESS: Final = 3
STUBBORN: Final = ("trap '' TERM; sleep 60; true", "(trap '' TERM; sleep 60) & wait")


@dataclass(frozen=True)
class Plan:
    """What becomes of one run.

    Attributes:
        folder: its state; `stderr` is its standard error.
        token: marks its programs.
        program: the shell line of its last programs, which end by a signal only.
        signals: seconds after the beginning, and what is sent then.
        within: whether there is a run; else a program runs on its own.
    """

    folder: Path
    token: str
    program: str
    signals: tuple[tuple[float, int], ...]
    within: bool = True

    def command(self, line: str) -> Command:
        """A program of this run."""
        return Command(SHELL, ("-c", line), {TOKEN: self.token})


def interrupted(plan: Plan) -> None:
    """Run until the plan's signals end it; the process exits with the code of its verdict."""
    with (plan.folder / "stderr").open("w") as stderr, exiting():
        os.dup2(stderr.fileno(), 2)
        for seconds, number in plan.signals:
            timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
        programs = ShCommandRunner(Redactor())
        if plan.within:
            leave(run(plan.folder, _phases(plan, programs), programs, stderr, AwakeClock()), stderr)
        programs.run(plan.command(plan.program))


def run(
    folder: Path,
    phases: list[Phase],
    programs: ShCommandRunner,
    stderr: TextIO,
    clock: AwakeClock,
    *,
    json: bool = False,
) -> int:
    """One run as the command line would make it; its exit code."""
    owner = Owner.of_this_process("run-1", "./invoke bootstrap --cluster lab", datetime.now(UTC))
    graph = Graph(phases)
    with ExitStack() as stack:
        lock = stack.enter_context(RunLock(folder, owner, cluster="lab"))
        stack.enter_context(clock)
        recorder = stack.enter_context(Journal.open(folder / FILE, cluster="lab", tool="test", redact=str))
        log = stack.enter_context(LogFile(folder / "log.jsonl"))
        readers: list[Reader] = [log, PlainLines(stderr), lock, *([JsonLines(sys.stdout)] if json else [])]
        verdict = execute(
            graph,
            everything(graph),
            Settings(cluster="lab", resume_command=owner.command, target=600.0),
            bus=Bus("run-1", clock=clock, redact=str, readers=readers),
            clock=clock,
            meter=Meter(clock),
            children=Children(stop=programs.stop_all, kill=programs.kill_all),
            recorder=recorder,
        )
        return int(verdict.exit_code)


def _phases(plan: Plan, programs: ShCommandRunner) -> list[Phase]:
    """Short actions, gates and programs of every kind, then some that never end."""
    world = World()

    def start(line: str) -> Callable[[Context], None]:
        def act(_ctx: Context) -> None:
            programs.run(plan.command(line))

        return act

    def short(name: str) -> Gate[str]:
        return Gate(description=name, check=holds_at_look(5), interval=0.01)

    def never(ctx: Context) -> str:
        ctx.wait(Gate(description="what never comes", check=lambda _: Observation(holds=False, seen="nothing")))
        return ""

    names = [f"line-{number}" for number in range(ENDLESS)]
    actions = [
        world.acting(name, effects=(f"{name}-a", f"{name}-b"), before=start("sleep 0.05"), gate=short(name))
        for name in names
    ]

    def hang(_ctx: Context) -> str:
        # As a request does that gets no answer; the interpreter would wait for such a thread at its end.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(time.sleep, 60).result()
        return ""

    never_ending = [reading("never", never), *([reading("hangs", hang)] if plan.program in STUBBORN else [])]
    endless = [world.acting(f"endless-{name}", before=start(plan.program)) for name in names]
    return [phase("a", *actions), phase("b", *endless, *never_ending)]


def outliving(folder: Path, *, limit: float, gap: float) -> int:
    """A run that waits for the file `go`, at most `limit` seconds, and then writes some lines more."""

    def look(_ctx: Context) -> Observation[str]:
        (folder / "begun").touch()
        return Observation((folder / "go").exists(), "not yet")

    gate = Gate(description="the file go", check=look, interval=0.02, timeout=limit)
    steps: list[AnyStep] = [
        World().acting("waits", gate=gate),
        *(reading(f"last-{index}", needs=("waits",)) for index in range(20)),
    ]
    clock = AwakeClock(pulse=0.05, gap=gap)
    return run(folder, [phase("a", *steps)], ShCommandRunner(Redactor()), sys.stderr, clock, json=True)


def told_afterwards(first: int, second: int) -> None:
    """A run that one signal ended, and another one before the process has ended."""
    with exiting():
        with delivered_to(lambda _number: None):
            os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)


def main() -> None:
    """From the command line: folder, limit and gap in seconds."""
    folder = Path(sys.argv[1])
    if sys.stdin.isatty():
        # The first terminal that a leader of a session opens becomes its own: when it goes, there is a SIGHUP.
        os.close(os.open(os.ttyname(0), os.O_RDWR))
    received, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    # The interpreter writes the number of each signal that a handler gets.
    signal.set_wakeup_fd(wakeup)
    try:
        with exiting():
            code = outliving(folder, limit=float(sys.argv[2]), gap=float(sys.argv[3]))
    finally:
        silence_closed(sys.stdout, sys.stderr)
    os.close(wakeup)
    signal.set_wakeup_fd(-1)
    (folder / "signals").write_text(" ".join(signal.Signals(number).name for number in os.read(received, 100)))
    # The interpreter's own way out, with its flush of what was written.
    sys.exit(code)


if __name__ == "__main__":
    main()
