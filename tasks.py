"""The words of the command line; every task is thin, the work is done in the packages."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import invoke
from invoke import Collection, Context, Exit

from bootstrap.host.settings import (
    ACCEPT_CHANGED_PLAN,
    CACHE,
    CHARTS,
    CLUSTER,
    DRY_RUN,
    FORCE_CONFLICTS,
    FROM,
    LIVE,
    ONLY,
    OUTPUT,
    PROVE,
    REBUILD_JOURNAL,
    ROOT,
    ROTATE,
    SKIP,
    STRICT_BUDGETS,
    WORKERS,
    YES,
    AnySetting,
)
from bootstrap.host.streams import write_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.configuration import Configuration
    from bootstrap.host.errors import ExitCode
    from inventory.model import Cluster
    from phases.session import Request
    from rehearsal.entry import Inside

# Options are whole words: a letter would come to mean another one when an option is added.
task = partial(invoke.task, auto_shortflags=False)


def _settings(**flags: Any) -> Configuration:
    from bootstrap.host.configuration import resolve

    return resolve({name.rstrip("_").replace("_", "-"): value for name, value in flags.items()}, os.environ)


def _help(*settings: AnySetting) -> dict[str, str]:
    return {setting.name: setting.help for setting in settings}


def _root() -> Path:
    return _settings()[ROOT]


def _cache() -> Path:
    return _settings()[CACHE]


def _runner() -> ShCommandRunner:
    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.secret import Redactor

    return ShCommandRunner(Redactor())


def _reporter() -> Callable[[str], None]:
    from bootstrap.host.streams import write_line

    began = time.monotonic()

    def report(text: str) -> None:
        write_line(sys.stderr, f"{time.monotonic() - began:8.1f} s  {text}")

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
        from bootstrap.engine.interrupts import exiting
        from bootstrap.host.errors import FirstlightError
        from bootstrap.host.streams import silence_closed
        from bootstrap.views.failure import render_failure, render_unexpected

        try:
            with exiting():
                _refuse_dry(arguments[0])
                _settings()
                body(*arguments, **options)
        except FirstlightError as error:
            from bootstrap.views.github import tell

            tell(error, sys.stderr, os.environ)
            raise Exit(render_failure(error), int(error.exit_code)) from None
        except (Exit, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 # the edge: whatever it is, a person gets one line
            if isinstance(error, BrokenPipeError) and silence_closed(sys.stdout, sys.stderr):
                return  # whoever asked has read enough
            raise Exit(render_unexpected(error, _root() / ".firstlight"), 1) from None
        finally:
            silence_closed(sys.stdout, sys.stderr)

    return guarded


def _load(name: str) -> Cluster:
    from inventory.loader import load

    return load(_root(), name)


# The help of a flag that several commands have.
_REHEARSAL = {"rehearsal": "of the cluster's rehearsals"}


def _as_virtual(cluster: Cluster) -> Cluster:
    from rehearsal.rehearsed import rehearsed

    return cluster if cluster.virtual else rehearsed(cluster)


def _charts(settings: Configuration) -> Path | None:
    """The folder of charts for the lab; None where none was given."""
    return Path(settings[CHARTS]).expanduser().resolve() if settings[CHARTS] else None


def _enter_lab(cluster: Cluster, *, charts: Path | None = None) -> Inside | None:
    """For a virtual cluster: inside its lab what is there, outside never returns; None for real machines."""
    from rehearsal.entry import bring_up, is_inside, look_around

    if not cluster.virtual:
        return None
    if is_inside():
        return look_around()
    lab, _ = bring_up(_root(), _cache(), cluster, _runner(), _reporter(), charts=charts)
    return lab.enter(_again())


def _again() -> list[str]:
    """The command line of this process, for itself somewhere else."""
    return [sys.executable, "-P", *sys.argv]


# Flags that answer one refusal; a run that is resumed does not repeat them.
_ONCE = frozenset({REBUILD_JOURNAL.flag, ACCEPT_CHANGED_PLAN.flag})


def _within(request: Request, inside: Inside) -> Request:
    from rehearsal.lab import Lab

    return replace(
        request,
        life=f"the lab since {Lab(request.cache).owner().get('since', 'an unknown time')}",
        trust=inside.trust,
        overlays=(inside.overlay,),
        commit=inside.commit,
        stand_ins=inside.stand_ins,
        charts=inside.charts,
    )


def _show_plan(request: Request, *, live: bool, charts: Path | None) -> ExitCode:
    """Real machines need nothing; for virtual ones a running lab is joined, or the lab's charts are served."""
    from phases.plan import show
    from rehearsal import without_machines
    from rehearsal.entry import is_inside, join, look_on

    if not request.cluster.virtual:
        return show(request, live=live)
    if live:
        if not is_inside():
            join(request.root, request.cache, request.cluster, _again())
        return show(_within(request, look_on()), live=True)
    if not without_machines.is_inside():
        runner, report = _runner(), _reporter()
        without_machines.enter(
            request.root, request.cache, request.cluster, runner, report, command=_again(), charts=charts
        )
    with without_machines.internet(_reporter()) as overlay:
        return show(replace(request, overlays=(overlay,)), live=False)


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


def _run(word: str, settings: Configuration, cluster: Cluster | None = None, **options: Any) -> None:
    from bootstrap.host.errors import ExitCode, InputError
    from bootstrap.host.streams import leave
    from phases.session import Request, check, check_journal, run

    if settings[LIVE] and not settings[DRY_RUN]:
        raise InputError("--live looks at the world for a plan, and none is asked for", remedy="add --dry-run")
    cluster = cluster or _load(settings[CLUSTER])
    if settings[CHARTS] and not cluster.virtual:
        remedy = f"./invoke rehearse --cluster {cluster.name} --charts {settings[CHARTS]}"
        raise InputError(
            f"{cluster.name} gets the charts that its files name; only a lab can be given others", remedy=remedy
        )
    words = sys.argv[sys.argv.index(word) :] if word in sys.argv else [word]
    command = " ".join(["./invoke", *(word for word in words if word not in _ONCE)])
    request = Request(
        root=settings[ROOT],
        cache=settings[CACHE],
        cluster=cluster,
        command=command,
        output=settings[OUTPUT],
        workers=settings[WORKERS],
        rebuild_journal=settings[REBUILD_JOURNAL],
        accept_changed_plan=settings[ACCEPT_CHANGED_PLAN],
        strict_budgets=settings[STRICT_BUDGETS],
        forced=frozenset(_split(settings[FORCE_CONFLICTS])),
        rotate=settings[ROTATE],
        prove=settings[PROVE],
        **options,
    )
    check(request)
    if settings[DRY_RUN]:
        raise Exit(code=int(_show_plan(request, live=settings[LIVE], charts=_charts(settings))))
    check_journal(request)
    _confirm(cluster, yes=settings[YES])
    inside = _enter_lab(cluster, charts=_charts(settings))
    verdict = run(_within(request, inside) if inside else request)
    if verdict.exit_code in {ExitCode.INTERRUPTED, ExitCode.TERMINATED}:
        # A request that hangs in a thread must not keep a process that was told to end.
        leave(verdict.exit_code, sys.stdout, sys.stderr)
    if verdict.exit_code:
        raise Exit(code=int(verdict.exit_code))


@task(
    name="bootstrap",
    positional=[],
    help=_help(
        CLUSTER,
        ONLY,
        FROM,
        SKIP,
        OUTPUT,
        YES,
        DRY_RUN,
        LIVE,
        REBUILD_JOURNAL,
        ACCEPT_CHANGED_PLAN,
        FORCE_CONFLICTS,
        ROTATE,
        PROVE,
        STRICT_BUDGETS,
        CHARTS,
    ),
)
@_edge
def bootstrap_cluster(  # noqa: PLR0917 # the flags of the command
    _: Context,
    cluster: str = "",
    only: str = "",
    from_: str = "",
    skip: str = "",
    output: str = "",
    yes: bool = False,
    dry_run: bool = False,
    live: bool = False,
    rebuild_journal: bool = False,
    accept_changed_plan: bool = False,
    force_conflicts: str = "",
    rotate: bool = False,
    prove: bool = False,
    strict_budgets: bool = False,
    charts: str = "",
) -> None:
    """From machines that booted Talos to a cluster that Flux runs, with proof."""
    settings = _settings(
        cluster=cluster,
        only=only,
        from_=from_,
        skip=skip,
        output=output,
        yes=yes,
        dry_run=dry_run,
        live=live,
        rebuild_journal=rebuild_journal,
        accept_changed_plan=accept_changed_plan,
        force_conflicts=force_conflicts,
        rotate=rotate,
        prove=prove,
        strict_budgets=strict_budgets,
        charts=charts,
    )
    _run("bootstrap", settings, only=_split(settings[ONLY]), start=settings[FROM], skip=_split(settings[SKIP]))


@task(
    name="rehearse",
    positional=[],
    help={
        **_help(CLUSTER, ONLY, OUTPUT, CHARTS),
        "nodes": "how many virtual machines, where the computer is small; all by default",
        "fault": "an accident to rehearse with",
        "list-faults": "only say which accidents there are",
        "keep": "leave the lab up at the end",
    },
)
@_edge
def rehearse_cluster(  # noqa: PLR0917 # the flags of the command
    _: Context,
    cluster: str = "",
    only: str = "",
    nodes: int = 0,
    fault: str = "",
    list_faults: bool = False,
    keep: bool = False,
    output: str = "",
    charts: str = "",
) -> None:
    """The bootstrap of a real cluster on virtual machines, with its own files, addresses and names."""
    from rehearsal.catalogue import as_table
    from rehearsal.entry import is_inside
    from rehearsal.rehearse import Place, rehearse
    from rehearsal.rehearsed import rehearsed

    if list_faults:
        write_data(as_table())
        return
    settings = _settings(cluster=cluster, only=only, output=output, charts=charts)
    made = rehearsed(_load(settings[CLUSTER]), nodes)
    if is_inside():
        _run("rehearse", settings, made, only=_split(settings[ONLY]))
        return
    place = Place(settings[ROOT], settings[CACHE], _runner(), _reporter(), _charts(settings))
    if code := rehearse(place, made, _again(), fault=fault, keep=keep):
        raise Exit(code=code)


@task(name="handover", positional=[], help=_help(CLUSTER, OUTPUT))
@_edge
def judge_handover(_: Context, cluster: str = "", output: str = "") -> None:
    """The verdict alone: does Flux run the cluster from Git?"""
    # It changes nothing, so there is nothing to confirm.
    settings = _settings(cluster=cluster, output=output, yes=True)
    _run("handover", settings, only=["handover"], complete=f"./invoke bootstrap --cluster {settings[CLUSTER]}")


@task(name="status", help={**_help(CLUSTER, OUTPUT), **_REHEARSAL})
@_edge
def show_status(_: Context, cluster: str = "", output: str = "", rehearsal: bool = False) -> None:
    """What the last run left, and what the next would do."""
    from phases.session import Request
    from phases.status import show

    settings = _settings(cluster=cluster, output=output)
    found = _load(settings[CLUSTER])
    found = _as_virtual(found) if rehearsal else found
    command = f"./invoke {'rehearse' if rehearsal else 'bootstrap'} --cluster {found.name}"
    show(Request(settings[ROOT], settings[CACHE], found, command, output=settings[OUTPUT]))


@task(
    name="report",
    help={
        **_help(CLUSTER),
        **_REHEARSAL,
        "run": "its id; by default the latest that has a report",
        "format": "md, junit or html",
    },
)
@_edge
def show_report(
    _: Context,
    cluster: str = "",
    run: str = "",
    format: str = "md",  # noqa: A002 # a flag's name
    rehearsal: bool = False,
) -> None:
    """Print the report of a run."""
    from bootstrap.views.schema import again
    from phases.world import state_folder

    found = _load(_settings(cluster=cluster)[CLUSTER])
    write_data(again(state_folder(_root(), found.name, rehearsal=rehearsal) / "runs", run, format))


@task(name="config", help=_help(CLUSTER, OUTPUT))
@_edge
def show_settings(_: Context, cluster: str = "", output: str = "") -> None:
    """Print every setting's value and where it comes from."""
    from bootstrap.views.configuration import as_json, as_table

    settings = _settings(cluster=cluster, output=output)
    if settings[CLUSTER]:
        _load(settings[CLUSTER])
    write_data(as_json(settings) if settings[OUTPUT] == "json" else as_table(settings))


@task(name="completion", help={"shell": "bash, zsh or fish"})
@_edge
def print_completion(_: Context, shell: str = "bash") -> None:
    """Print a script for a shell that completes tasks, flags, clusters, phases and steps."""
    from bootstrap.engine.selection import names as names_of
    from bootstrap.host.errors import InputError
    from bootstrap.host.names import nearest
    from bootstrap.views.completion import SHELLS, script
    from inventory.loader import names
    from phases.session import Request, outline

    if shell not in SHELLS:
        raise InputError(f'there is no completion for "{shell}"', cause=nearest(shell, SHELLS))
    clusters = names(_root())
    # The steps have the same names for every cluster.
    steps = names_of(outline(Request(_root(), _cache(), _load(clusters[0]), ""))) if clusters else ()
    values = {CLUSTER.flag: clusters, ONLY.flag: steps, FROM.flag: steps, SKIP.flag: steps}
    write_data(script(shell, values))


@task(name="docs")
@_edge
def renew_documents(_: Context) -> None:
    """Renew every file that is made from the code, such as docs/reference."""
    from phases.reference import renew

    write_data("".join(f"{name}\n" for name in renew(_root())))


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
        write_data(f"{finding}\n")


@task(name="lint")
@_edge
def check_quality(_: Context) -> None:
    """Run every linter: form, rules, types, layers, scripts, Go."""
    from bootstrap.host.quality import lint

    lint(_root(), Path(sys.executable), _runner(), _reporter(), os.environ)


@task(
    name="test",
    help={
        "names": "files or folders below tests/, separated by commas; all by default",
        "all": "also the rehearsals of whole clusters, which take hours without KVM",
    },
)
@_edge
def run_tests(_: Context, names: str = "", all: bool = False) -> None:  # noqa: A002 # the flag's name
    """Run every test, the lab's included; what a test needs is installed and built before."""
    from bootstrap.host.packages import Need, SystemPackages, this_system
    from bootstrap.host.programs import names_for
    from bootstrap.host.toolbox import Toolbox

    runner, report = _runner(), _reporter()
    SystemPackages(this_system(os.environ), runner, report, os.environ).ensure(set(Need))
    Toolbox(_root(), _cache(), runner, report, os.environ.get("PATH", "")).ensure(names_for())
    # pytest takes this process over, so that its last line is ours as well.
    # One worker has all of a file: there is one lab.
    arguments = [
        "-n",
        "2",
        "--dist",
        "loadfile",
        *(["--all"] if all else []),
        *(str(_root() / "tests" / name) for name in _split(names)),
    ]
    os.chdir(_root())
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606 # argv is a list, no shell


@task(name="up", help=_help(CLUSTER, CHARTS))
@_edge
def lab_up(_: Context, cluster: str = "", charts: str = "") -> None:
    """Start the lab of a cluster: virtual machines with real Talos in a private network."""
    from rehearsal.entry import bring_up

    report, settings = _reporter(), _settings(cluster=cluster, charts=charts)
    found = _as_virtual(_load(settings[CLUSTER] or "lab"))
    bring_up(_root(), _cache(), found, _runner(), report, charts=_charts(settings))
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
        lines.append(f"machine   {machine['name']}: {machine['trouble'] or machine['state']}, {machine['console']}")
    lines.append(f"snapshots {', '.join(status.snapshots) or 'none'}")
    write_data("\n".join(lines) + "\n")


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


@task(
    name="fault",
    help={
        "name": "one that ./invoke rehearse --list-faults lists",
        "machine": "which one, from 0",
        "seconds": "how far a clock is ahead, or how often a machine is reset",
    },
)
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

    write_data(f"felt {Lab(_cache()).ask('mend', name=name, machine=machine)} times\n")


@task(name="render", help={**_help(CLUSTER), "node": "one of its nodes; all by default"})
@_edge
def talos_render(_: Context, cluster: str = "", node: str = "") -> None:
    """Print machine configurations with references in place of secrets."""
    from phases.configurations import print_configurations

    print_configurations(_root(), _cache(), _load(_settings(cluster=cluster)[CLUSTER]), node)


@task(name="secrets", help=_help(CLUSTER))
@_edge
def talos_secrets(_: Context, cluster: str = "") -> None:
    """Make a cluster's secrets bundle, once, and store it with its secret provider."""
    from phases.bundles import create

    create(_root(), _cache(), _load(_settings(cluster=cluster)[CLUSTER]))


@task(name="discover", help={**_help(CLUSTER), "write": "change inventory and patches, instead of showing how"})
@_edge
def talos_discover(_: Context, cluster: str = "", write: bool = False) -> None:
    """Ask machines in maintenance mode for what the inventory marks unverified, and show the difference."""
    from phases.discovery import discover

    found = _load(_settings(cluster=cluster)[CLUSTER])
    _enter_lab(found)
    if code := discover(_root(), _cache(), found, write=write):
        raise Exit(code=int(code))


@task(name="values", help={**_help(CLUSTER), "release": "a HelmRelease of its tree"})
@_edge
def core_values(_: Context, release: str, cluster: str = "") -> None:
    """Print the values of a release after Flux's substitution."""
    from phases.values import print_values

    print_values(_root(), _cache(), _load(_settings(cluster=cluster)[CLUSTER]).name, release)


@task(name="releases", help=_help(CLUSTER))
@_edge
def core_releases(_: Context, cluster: str = "") -> None:
    """Print chart and version of every release of the tree."""
    from phases.values import print_releases

    print_releases(_root(), _cache(), _load(_settings(cluster=cluster)[CLUSTER]).name)


@task(name="expect", help=_help(CLUSTER))
@_edge
def expect_definitions(_: Context, cluster: str = "") -> None:
    """Write down which definitions the charts of a cluster bring, for review."""
    from phases.expect import expect
    from phases.session import Request
    from rehearsal import without_machines

    settings = _settings(cluster=cluster)
    found = _load(settings[CLUSTER])
    request = Request(settings[ROOT], settings[CACHE], found, f"./invoke crds.expect --cluster {found.name}")
    if not found.virtual:
        expect(request)
        return
    if not without_machines.is_inside():
        without_machines.enter(request.root, request.cache, found, _runner(), _reporter(), command=_again())
    with without_machines.internet(_reporter()):
        expect(request)


def _split(names: str) -> list[str]:
    from bootstrap.host.errors import InputError

    found = [name.strip() for name in names.split(",") if name.strip()]
    if names and not found:
        raise InputError(f'"{names}" names nothing', remedy="put names there, or leave the option out")
    return found


namespace = Collection(
    bootstrap_cluster,
    judge_handover,
    rehearse_cluster,
    show_status,
    show_report,
    show_settings,
    renew_documents,
    print_completion,
    ensure_tools,
    check_quality,
    run_tests,
)
namespace.add_collection(Collection("core", core_values, core_releases))
namespace.add_collection(Collection("talos", talos_discover, talos_render, talos_secrets))
namespace.add_collection(Collection("crds", expect_definitions))
namespace.add_collection(
    Collection("lab", lab_up, lab_down, lab_status, lab_shell, lab_save, lab_load, lab_fault, lab_mend)
)

if __name__ == "__main__":
    from bootstrap.views.usage import CommandLine

    CommandLine(namespace).run()
