"""One run from the command line: the world opened, the phases executed, every reader attached."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.engine.events import Bus
from bootstrap.engine.graph import Graph
from bootstrap.engine.meter import Meter, MeteredCommandRunner
from bootstrap.engine.run import Settings, execute, new_run_id
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import select
from bootstrap.host.clock import SystemClock
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.packages import this_system
from bootstrap.host.programs import Use, names_for
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import Toolbox
from bootstrap.views.jsonlines import JsonLines
from bootstrap.views.log import LogFile
from bootstrap.views.plain import PlainLines
from bootstrap.views.report import ReportWriter
from phases.catalogue import build
from phases.world import World
from talos.client import Talosctl
from talos.probe import observe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.engine.events import Reader
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.secret import Secret
    from inventory.model import Cluster
    from kube.cluster import Cluster as KubernetesApi

# Kinds of output that a run can have on standard output.
OUTPUTS: Final = ("text", "json")


@dataclass(frozen=True)
class Request:
    """What the operator asked for.

    Attributes:
        root: the repository.
        cache: the tool's cache folder.
        cluster: from the inventory.
        command: the command line to type again, shown when a run ends early.
        only: names of phases or steps; empty means all.
        start: the name to begin with; empty means the first.
        skip: names to leave out.
        output: one of `OUTPUTS`.
        trust: CA file for our own TLS calls; None uses the system's.
        overlays: patches over the machine configuration.
        commit: the commit that Flux must reach; empty reads it from Git.
        stand_ins: releases whose charts the lab made.
    """

    root: Path
    cache: Path
    cluster: Cluster
    command: str
    only: Sequence[str] = ()
    start: str = ""
    skip: Sequence[str] = ()
    output: str = "text"
    trust: Path | None = None
    overlays: tuple[Path, ...] = ()
    commit: str = ""
    stand_ins: frozenset[str] = frozenset()


def check(request: Request) -> None:
    """Refuse names of phases, steps and outputs that do not exist, before anything is started.

    Raises:
        InputError: an unknown name, with the nearest ones.
    """
    if request.output not in OUTPUTS:
        problem = Problem(f"--output {request.output}: known are {', '.join(OUTPUTS)}")
        raise InputError("unknown output", (problem,))
    redactor = Redactor()
    # Names come from the phases themselves; nothing of this world is used.
    world = _world(request, ShCommandRunner(redactor), redactor, {"talosctl": Path()})
    select(Graph(build(world)), only=request.only, start=request.start, skip=request.skip)


def run(request: Request) -> Verdict:
    """Run the phases; what happens is told on standard error, in the log and in the report.

    Raises:
        InputError: a program is missing, or a name or output is unknown; nothing was begun.
    """
    clock = SystemClock()
    meter = Meter(clock)
    redactor = Redactor()
    programs = ShCommandRunner(redactor)
    world = open_world(request, MeteredCommandRunner(programs, meter), programs, redactor)
    graph = Graph(build(world))
    selection = select(graph, only=request.only, start=request.start, skip=request.skip)
    run_id = new_run_id(datetime.now(UTC))
    folder = world.state / "runs" / run_id
    total = request.cluster.budgets["total"]
    settings = Settings(
        cluster=request.cluster.name, resume_command=request.command, target=total.target, deadline=total.deadline
    )
    with ExitStack() as stack:
        log = folder / "log.jsonl"
        readers: list[Reader] = [stack.enter_context(LogFile(log)), PlainLines(sys.stderr, log=str(log))]
        readers.append(ReportWriter(folder / "report.json"))
        if request.output == "json":
            readers.append(JsonLines(sys.stdout))
        bus = Bus(run_id, clock=clock, redact=redactor.redact, readers=readers)
        children = Children(stop=programs.stop_all, kill=programs.kill_all)
        return execute(graph, selection, settings, bus=bus, clock=clock, meter=meter, children=children)


def open_world(request: Request, runner: MeteredCommandRunner, plain: ShCommandRunner, redactor: Redactor) -> World:
    """Find the programs and folders that a run of this request works with.

    Raises:
        InputError: a program is neither there nor to be built; all of them at once.
    """
    search_path = os.environ.get("PATH", "")
    toolbox = Toolbox(request.root, request.cache, plain, print_line, search_path)
    found = toolbox.ensure(names_for(Use.OPERATOR))
    machine = this_system(os.environ)
    system = {name: path for name in ("git", "op") if (path := machine.find(name))}
    (request.root / ".firstlight" / request.cluster.name).mkdir(parents=True, exist_ok=True, mode=0o700)
    return _world(request, runner, redactor, {**found, **system})


def _world(request: Request, runner: CommandRunner, redactor: Redactor, programs: Mapping[str, Path]) -> World:
    talosctl = Talosctl(programs["talosctl"], runner)
    return World(
        root=request.root,
        cluster=request.cluster,
        state=request.root / ".firstlight" / request.cluster.name,
        runner=runner,
        programs=programs,
        talosctl=talosctl,
        observe=partial(observe, talosctl=talosctl),
        connect=_connect,
        redactor=redactor,
        environment=dict(os.environ),
        trust=request.trust,
        overlays=request.overlays,
        commit=request.commit,
        stand_ins=request.stand_ins,
    )


def _connect(kubeconfig: Secret, *, server: str = "") -> KubernetesApi:
    from kube.lightkube_cluster import LightkubeCluster

    return LightkubeCluster.connect(kubeconfig, server=server)


def print_line(text: str) -> None:
    """A line for a person, before there is a run whose events could say it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
