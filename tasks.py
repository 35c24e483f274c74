"""The words of the command line; every task is thin, the work is done in the packages."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Collection, Context, Exit, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import ShCommandRunner
    from inventory.model import Cluster
    from rehearsal.entry import Inside


def _root() -> Path:
    return Path(os.environ.get("FIRSTLIGHT_ROOT", Path(__file__).parent)).resolve()


def _cache() -> Path:
    from bootstrap.host.toolbox import default_cache

    return default_cache(os.environ)


def _runner() -> ShCommandRunner:
    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.secret import Redactor

    return ShCommandRunner(Redactor())


def _reporter() -> Callable[[str], None]:
    began = time.monotonic()

    def report(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:8.1f} s  {text}\n")
        sys.stderr.flush()

    return report


def _refuse_dry(context: Context) -> None:
    from bootstrap.host.errors import InputError

    if context.config.run.dry:
        # invoke would answer its own commands with a success that never happened, and ours not at all.
        raise InputError("invoke's own --dry is not understood here; nothing was run")


def _edge(body: Callable[..., None]) -> Callable[..., None]:
    """Turns errors into lines and exit codes; nothing passes as a traceback."""

    @wraps(body)
    def guarded(*arguments: Any, **options: Any) -> None:
        from bootstrap.host.errors import FirstlightError
        from bootstrap.views.failure import render_failure, render_unexpected

        try:
            _refuse_dry(arguments[0])
            body(*arguments, **options)
        except FirstlightError as error:
            raise Exit(render_failure(error), int(error.exit_code)) from None
        except (Exit, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 # the edge: whatever it is, a person gets one line
            raise Exit(render_unexpected(error, _root() / ".firstlight"), 1) from None

    return guarded


def _load(name: str) -> Cluster:
    from inventory.loader import load

    return load(_root(), name)


def _enter_lab(cluster: Cluster) -> Inside | None:
    """For a virtual cluster: inside its lab what is there, outside never returns; None for real machines."""
    from rehearsal.entry import bring_up, is_inside, look_around

    if not cluster.virtual:
        return None
    if is_inside():
        return look_around()
    lab, settings = bring_up(_root(), _cache(), cluster, _runner(), _reporter())
    lab.enter(settings.programs["nsenter"], [sys.executable, "-m", "invoke", *sys.argv[1:]])
    return None


def _confirm(cluster: Cluster, *, yes: bool) -> None:  # an invoke flag passed on
    from bootstrap.host.errors import InputError, Problem

    if cluster.virtual or yes:
        return
    nodes = ", ".join(f"{node.name} {node.address}" for node in cluster.nodes)
    if not sys.stdin.isatty():
        problem = Problem("there is no terminal to ask on", remedy="--yes confirms")
        raise InputError(f"real machines are about to be changed: {nodes}", (problem,))
    sys.stderr.write(f"Real machines are about to be changed: {nodes}\nType the cluster's name to go on: ")
    if sys.stdin.readline().strip() != cluster.name:
        raise InputError("not confirmed; nothing was changed")


def _run(word: str, name: str, *, yes: bool, **options: Any) -> None:
    from phases.session import Request, check, run

    cluster = _load(name)
    words = sys.argv[sys.argv.index(word) :] if word in sys.argv else [word]
    command = " ".join(["./invoke", *words])
    request = Request(root=_root(), cache=_cache(), cluster=cluster, command=command, **options)
    check(request)
    _confirm(cluster, yes=yes)
    inside = _enter_lab(cluster)
    if inside:
        request = replace(
            request,
            trust=inside.trust,
            overlays=(inside.overlay,),
            commit=inside.commit,
            stand_ins=inside.stand_ins,
        )
    verdict = run(request)
    if verdict.exit_code:
        raise Exit(code=int(verdict.exit_code))


@task(
    name="bootstrap",
    positional=[],
    help={
        "cluster": "a cluster of inventory/",
        "only": "phases or steps to run, separated by commas",
        "from": "the phase or step to begin with",
        "skip": "phases or steps to leave out, separated by commas",
        "output": "text, or json for one event a line on standard output",
        "yes": "do not ask before real machines are changed",
    },
)
@_edge
def bootstrap_cluster(  # noqa: PLR0917 # the flags of the command
    _: Context,
    cluster: str = "",
    only: str = "",
    from_: str = "",
    skip: str = "",
    output: str = "text",
    yes: bool = False,
) -> None:
    """From machines that booted Talos to a cluster that Flux runs, with proof."""
    _run("bootstrap", cluster, yes=yes, output=output, only=_split(only), start=from_, skip=_split(skip))


@task(name="handover", positional=[], help={"cluster": "a cluster of inventory/", "output": "text or json"})
@_edge
def judge_handover(_: Context, cluster: str = "", output: str = "text") -> None:
    """The verdict alone: does Flux run the cluster from Git?"""
    _run("handover", cluster, yes=True, output=output, only=["handover"])


@task(name="tools", help={"list": "only say what is there", "names": "programs, separated by commas; all by default"})
@_edge
def ensure_tools(_: Context, names: str = "", list: bool = False) -> None:  # noqa: A002 # the flag's name
    """Find, or build, every pinned program."""
    from bootstrap.host.packages import SystemPackages, this_system
    from bootstrap.host.programs import names_for
    from bootstrap.host.toolbox import Toolbox

    runner, report = _runner(), _reporter()
    toolbox = Toolbox(_root(), _cache(), runner, report, os.environ.get("PATH", ""))
    wanted = _split(names) or names_for()
    if not list:
        SystemPackages(this_system(os.environ), runner, report, os.environ).ensure(toolbox.needs(wanted))
        toolbox.ensure(wanted)
    for finding in toolbox.look(wanted):
        sys.stdout.write(f"{finding}\n")


@task(name="lint")
@_edge
def check_quality(_: Context) -> None:
    """Run every linter: form, rules, types, layers, scripts, Go."""
    from bootstrap.host.quality import lint

    lint(_root(), Path(sys.executable), _runner(), _reporter(), os.environ)


@task(name="test", help={"names": "files or folders below tests/, separated by commas; all by default"})
@_edge
def run_tests(_: Context, names: str = "") -> None:
    """Run every test, the lab's included; what a test needs is installed and built before."""
    from bootstrap.host.packages import Need, SystemPackages, this_system
    from bootstrap.host.programs import names_for
    from bootstrap.host.toolbox import Toolbox

    runner, report = _runner(), _reporter()
    SystemPackages(this_system(os.environ), runner, report, os.environ).ensure(set(Need))
    Toolbox(_root(), _cache(), runner, report, os.environ.get("PATH", "")).ensure(names_for())
    # pytest takes this process over, so that its last line is ours as well.
    # One worker has all of a file: there is one lab.
    arguments = ["-n", "2", "--dist", "loadfile", *(str(_root() / "tests" / name) for name in _split(names))]
    os.chdir(_root())
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606 # argv is a list, no shell


@task(name="up")
@_edge
def lab_up(_: Context, cluster: str = "lab") -> None:
    """Start the lab of a cluster: virtual machines with real Talos in a private network."""
    from rehearsal.entry import bring_up

    report = _reporter()
    bring_up(_root(), _cache(), _load(cluster), _runner(), report)
    report("the lab is up; ./invoke lab.down ends it")


@task(name="down")
@_edge
def lab_down(_: Context) -> None:
    """End the lab; nothing of it is left."""
    from rehearsal.lab import Lab

    ended = Lab(_cache()).down()
    sys.stderr.write("the lab is down\n" if ended else "no lab was running\n")


@task(name="status")
@_edge
def lab_status(_: Context) -> None:
    """What the lab does, its machines and snapshots."""
    from rehearsal.lab import Lab

    status = Lab(_cache()).status()
    lines = [f"lab       {status.state} {status.doing}".rstrip()]
    lines += [f"{name:<9} {value}" for name, value in sorted(status.owner.items())]
    for machine in status.machines:
        lines.append(
            f"machine   {machine['name']}: {'running' if machine['running'] else 'ended'}, {machine['console']}"
        )
    lines.append(f"snapshots {', '.join(status.snapshots) or 'none'}")
    sys.stdout.write("\n".join(lines) + "\n")


@task(name="shell", help={"command": "what to run instead of a shell"})
@_edge
def lab_shell(_: Context, command: str = "") -> None:
    """A shell inside the lab's network, with its clients' configuration."""
    from rehearsal.entry import open_shell

    open_shell(_root(), _cache(), command)


@task(name="save", help={"name": "of the snapshot"})
@_edge
def lab_save(_: Context, name: str) -> None:
    """Keep disk and memory of all machines under a name."""
    from rehearsal.lab import Lab

    Lab(_cache()).ask("save", name=name)


@task(name="load", help={"name": "of the snapshot"})
@_edge
def lab_load(_: Context, name: str) -> None:
    """Bring all machines back to a snapshot."""
    from rehearsal.lab import Lab

    Lab(_cache()).ask("load", name=name)


@task(name="fault", help={"name": "reset, link-down, registry-down or clock", "seconds": "how far the clock is ahead"})
@_edge
def lab_fault(_: Context, name: str, machine: int = 0, seconds: float = 0.0) -> None:
    """Let an accident happen to the lab."""
    from rehearsal.lab import Lab

    Lab(_cache()).ask("fault", name=name, machine=machine, seconds=seconds)


@task(name="mend", help={"name": "of the fault"})
@_edge
def lab_mend(_: Context, name: str, machine: int = 0) -> None:
    """Mend an accident and say how often it was felt."""
    from rehearsal.lab import Lab

    sys.stdout.write(f"felt {Lab(_cache()).ask('mend', name=name, machine=machine)} times\n")


@task(name="values", help={"cluster": "a cluster of inventory/", "release": "a HelmRelease of its tree"})
@_edge
def core_values(_: Context, cluster: str, release: str) -> None:
    """Print the values of a release after Flux's substitution."""
    from phases.values import print_values

    print_values(_root(), _cache(), cluster, release)


@task(name="releases", help={"cluster": "a cluster of inventory/"})
@_edge
def core_releases(_: Context, cluster: str) -> None:
    """Print chart and version of every release of the tree."""
    from phases.values import print_releases

    print_releases(_root(), _cache(), cluster)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


namespace = Collection(bootstrap_cluster, judge_handover, ensure_tools, check_quality, run_tests)
namespace.add_collection(Collection("core", core_values, core_releases))
namespace.add_collection(
    Collection("lab", lab_up, lab_down, lab_status, lab_shell, lab_save, lab_load, lab_fault, lab_mend)
)
