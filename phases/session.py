"""One run from the command line: the world opened, the phases executed, every reader attached."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.engine.events import Bus, Note, redacted
from bootstrap.engine.graph import Graph
from bootstrap.engine.inputs import read_inputs
from bootstrap.engine.journal import FILE, Journal
from bootstrap.engine.journal_contents import read
from bootstrap.engine.journal_file import refuse_unwritable, set_aside
from bootstrap.engine.lock import Owner, RunLock
from bootstrap.engine.meter import Meter, MeteredCommandRunner
from bootstrap.engine.run import Settings, execute, new_run_id
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import select
from bootstrap.host.clock import AwakeClock
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.packages import this_system
from bootstrap.host.product import version
from bootstrap.host.programs import Use, names_for
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.settings import DEFAULT_WORKERS
from bootstrap.host.streams import write_line
from bootstrap.host.toolbox import Toolbox
from bootstrap.views.readers import Wishes, attach
from bootstrap.views.report import About
from kube.lease import Holder, KubeLease
from phases.catalogue import build
from phases.evidence import WHOLE_SECONDS, Gatherer, is_wanted
from phases.world import World, state_folder
from talos.client import Talosctl
from talos.probe import observe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bootstrap.engine.inputs import Inputs
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.clock import Clock
    from bootstrap.host.commands import CommandRunner
    from inventory.model import Cluster
    from kube.cluster import Cluster as KubernetesApi


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
        output: what standard output gets: nothing for `text`, every event for `json`.
        workers: steps at the same time.
        trust: CA file for our own TLS calls; None uses the system's.
        overlays: patches over the machine configuration.
        commit: the commit that Flux must reach; empty reads it from Git.
        stand_ins: releases whose charts the lab made.
        charts: see `World.charts`.
        life: names the running lab, since another one has other machines; empty for real machines.
        rebuild_journal: move the journal aside and begin another.
        accept_changed_plan: go on although files changed that steps of an unfinished run follow from.
        strict_budgets: whether a missed target makes the run fail.
        forced: definitions whose fields may be taken from other managers.
        rotate: whether secrets of `bootstrap/resources.yaml` that hold other content are replaced.
        prove: give proofs again that must write.
        complete: the command that does everything, where this one only judges; else empty.
    """

    root: Path
    cache: Path
    cluster: Cluster
    command: str
    only: Sequence[str] = ()
    start: str = ""
    skip: Sequence[str] = ()
    output: str = "text"
    workers: int = DEFAULT_WORKERS
    trust: Path | None = None
    overlays: tuple[Path, ...] = ()
    commit: str = ""
    stand_ins: frozenset[str] = frozenset()
    charts: str = ""
    life: str = ""
    rebuild_journal: bool = False
    accept_changed_plan: bool = False
    strict_budgets: bool = False
    forced: frozenset[str] = frozenset()
    rotate: bool = False
    prove: bool = False
    complete: str = ""


def check(request: Request) -> None:
    """Refuse names of phases and steps that do not exist, before anything is started.

    Raises:
        InputError: an unknown name, with the nearest ones.
    """
    select(outline(request), only=request.only, start=request.start, skip=request.skip)


def check_journal(request: Request) -> None:
    """Refuse a journal that a run could not use, before anything is started.

    Raises:
        InputError: see `Journal.open`.
    """
    refuse_unwritable(journal_path(request))
    if not request.rebuild_journal:
        read(journal_path(request), cluster=request.cluster.name)


def outline(request: Request) -> Graph:
    """The steps of a request as data; none of their functions can be called."""
    redactor = Redactor()
    return Graph(build(_world(request, ShCommandRunner(redactor), redactor, {"talosctl": Path()})))


def journal_path(request: Request) -> Path:
    """Where the cluster's journal is."""
    return _state(request) / FILE


def run(request: Request) -> Verdict:
    """Run the phases; what happens is told on standard error, in the log and in the report.

    Raises:
        LockedError: another run works on the cluster; nothing was begun.
        InputError: a program is missing, a name is unknown, the journal is unusable, or files changed that steps
            of an unfinished run follow from; nothing was begun.
    """
    now = datetime.now(UTC)
    owner = Owner.of_this_process(new_run_id(now), request.command, now)
    with RunLock(_state(request), owner, cluster=request.cluster.name) as lock, AwakeClock() as clock:
        return _run_locked(request, lock, owner, clock)


def _run_locked(request: Request, lock: RunLock, owner: Owner, clock: Clock) -> Verdict:
    run_id = owner.run
    meter = Meter(clock)
    redactor = Redactor()
    programs = ShCommandRunner(redactor, run=run_id)
    world = open_world(request, MeteredCommandRunner(programs, meter), programs, redactor)
    lease = _lease(world, owner)
    # The lease itself is taken and renewed over a connection that asks nobody.
    world = replace(world, connect=partial(world.connect, permit=lease.permit))
    evidence = Gatherer(world, end_children=programs.kill_all)
    graph = Graph(evidence.follow(build(world)))
    selection = select(graph, only=request.only, start=request.start, skip=request.skip)
    inputs = read_inputs(graph, request.root)
    folder = world.state / "runs" / run_id
    total = request.cluster.budgets["total"]
    settings = Settings(
        cluster=request.cluster.name,
        resume_command=request.command,
        target=total.target,
        deadline=total.deadline,
        workers=request.workers,
        inputs=inputs.steps,
        strict_budgets=request.strict_budgets,
        complete_command=request.complete,
    )
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(request, redactor))
        journal.follow(inputs, accept=request.accept_changed_plan)
        wishes = Wishes(
            folder=folder,
            output=request.output,
            environment=os.environ,
            mark=_mark(request),
            about=lambda: redacted(_about(request, journal, inputs), redactor.redact),
        )
        bus = Bus(run_id, clock=clock, redact=redactor.redact, readers=[*attach(stack, wishes, clock), lock])
        children = Children(stop=programs.stop_all, kill=programs.kill_all)
        if lock.left_behind:
            bus.emit(Note(f"took the lock over from a run that did not give it back: {lock.left_behind}"))
        if lock.ended:
            bus.emit(Note(f"ended the programs that it had left behind: {', '.join(lock.ended)}"))
        verdict = execute(
            graph,
            selection,
            settings,
            bus=bus,
            clock=clock,
            meter=meter,
            children=children,
            recorder=journal,
            lease=lease,
        )
        if journal.trouble:
            print_line(f"the journal lacks the end of this run: {journal.trouble}")
        if is_wanted(verdict):
            print_line(f"gathering evidence from machines and cluster, at most {WHOLE_SECONDS:.0f} s")
            evidence.gather(folder / "bundle", verdict)
            print_line(f"evidence: {folder / 'bundle' / 'index.txt'}")
        return verdict


def _mark(request: Request) -> str:
    if request.cluster.rehearsal:
        return "REHEARSAL"
    return "LAB" if request.cluster.virtual else ""


def _about(request: Request, journal: Journal, inputs: Inputs) -> About:
    return About(
        mark=_mark(request),
        command=request.command,
        only=tuple(request.only),
        start=request.start,
        skip=tuple(request.skip),
        identity=journal.identities,
        inputs=inputs.steps,
        changed_inputs={one.step: one.files for one in inputs.changed(journal.contents)},
    )


def _journal(request: Request, redactor: Redactor) -> Journal:
    path = journal_path(request)
    if request.rebuild_journal and (aside := set_aside(path, datetime.now(UTC))):
        print_line(f"the journal was moved to {aside}, another begins")
    return Journal.open(path, cluster=request.cluster.name, tool=version(), redact=redactor.redact, life=request.life)


def _lease(world: World, owner: Owner) -> KubeLease:
    def connect() -> KubernetesApi:
        return world.connect(Secret(world.kubeconfig.read_bytes(), str(world.kubeconfig)))

    return KubeLease(connect, Holder(owner.user, owner.process, owner.run), cluster=world.cluster.name)


def open_world(request: Request, runner: CommandRunner, plain: ShCommandRunner, redactor: Redactor) -> World:
    """Find the programs that a run of this request works with; nothing of the cluster's own is touched.

    Raises:
        InputError: a program is neither there nor to be built; all of them at once.
    """
    search_path = os.environ.get("PATH", "")
    toolbox = Toolbox(request.root, request.cache, plain, print_line, search_path)
    found = toolbox.ensure(names_for(Use.OPERATOR))
    machine = this_system(os.environ)
    system = {name: path for name in ("git", "op") if (path := machine.find(name))}
    return _world(request, runner, redactor, {**found, **system})


def _state(request: Request) -> Path:
    return state_folder(request.root, request.cluster.name, rehearsal=request.cluster.rehearsal)


def _world(request: Request, runner: CommandRunner, redactor: Redactor, programs: Mapping[str, Path]) -> World:
    talosctl = Talosctl(programs["talosctl"], runner)
    return World(
        root=request.root,
        cluster=request.cluster,
        state=_state(request),
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
        charts=request.charts,
        forced=request.forced,
        rotate=request.rotate,
        prove=request.prove,
        is_verdict=tuple(request.only) == ("handover",),
        cache=request.cache,
    )


def _connect(
    kubeconfig: Secret, *, server: str = "", permit: Callable[[], None] = lambda: None
) -> KubernetesApi:  # fmt: skip
    from kube.lightkube_cluster import LightkubeCluster

    return LightkubeCluster.connect(kubeconfig, server=server, permit=permit)


def print_line(text: str) -> None:
    """A line for a person, before there is a run whose events could say it."""
    write_line(sys.stderr, text)
