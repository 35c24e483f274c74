"""One plan from the command line: the phases gone through without the writes, the result shown."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.engine.events import redacted
from bootstrap.engine.graph import Graph
from bootstrap.engine.planner import make_plan
from bootstrap.engine.run import Settings
from bootstrap.engine.selection import select
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import write_data
from bootstrap.views.failure import failure_lines
from bootstrap.views.github import annotate, append_summary, is_github
from bootstrap.views.plan import as_json, as_markdown, as_text
from phases import foresight
from phases.baseline import baseline_file
from phases.catalogue import build
from phases.proofs import proofs_folder
from phases.session import open_world, print_line

if TYPE_CHECKING:
    from bootstrap.engine.plan import Plan
    from bootstrap.host.errors import ExitCode
    from phases.session import Request
    from phases.world import World

# The file that GitHub shows as the summary of a job's step.
SUMMARY: Final = "GITHUB_STEP_SUMMARY"


def show(request: Request, *, live: bool) -> ExitCode:
    """Print the plan of a request on standard output, what is wrong on standard error.

    Args:
        request: as a run would get it.
        live: whether the real world is looked at; otherwise the files say it all.

    Raises:
        InputError: a program is missing, or a name is unknown.
    """
    plan = look_ahead(request, live=live)
    write_data(as_json(plan) if request.output == "json" else as_text(plan))
    lines = [line for failure in plan.failures for line in failure_lines(failure)]
    for line in [*lines, *(annotate(plan.failures) if is_github(os.environ) else ())]:
        print_line(line)
    if summary := os.environ.get(SUMMARY):
        try:
            append_summary(Path(summary), as_markdown(plan))
        except OSError as error:
            print_line(f"the summary {summary} cannot be written: {error.strerror}")
    return plan.exit_code


def look_ahead(request: Request, *, live: bool) -> Plan:
    """The plan of a request, redacted; what is made on the way is thrown away.

    Raises:
        InputError: a program is missing, or a name is unknown.
    """
    redactor = Redactor()
    runner = ShCommandRunner(redactor)
    world = open_world(request, runner, runner, redactor)
    with tempfile.TemporaryDirectory(prefix="firstlight-plan-") as folder:
        state = Path(folder) / request.cluster.name
        plan = plan_of(aside(world, state, live=live), request, live=live)
    # Whoever reads a path of the state shall find it.
    return redacted(plan, lambda text: redactor.redact(text).replace(str(state), str(world.state)))


def plan_of(world: World, request: Request, *, live: bool) -> Plan:
    """The plan of a request in a world whose state may be thrown away."""
    graph = Graph(build(world))
    total = request.cluster.budgets["total"]
    settings = Settings(
        cluster=request.cluster.name,
        resume_command=request.command,
        target=total.target,
        deadline=total.deadline,
        workers=request.workers,
        complete_command=request.complete,
    )
    selection = select(graph, only=request.only, start=request.start, skip=request.skip)
    return make_plan(graph, selection, settings, live=live, note=print_line)


def aside(world: World, state: Path, *, live: bool) -> World:
    """A world whose own files are another folder's; without `live`, one that cannot be asked anything.

    Args:
        world: the real one; its state is not written to.
        state: gets what a plan may write; made here.
        live: whether what the real state holds is found there too.
    """
    state.mkdir(mode=0o700)
    if not live:
        return replace(world, state=state, observe=foresight.untouched, connect=foresight.untouched)
    apart = replace(world, state=state)
    if (world.state / "core").is_dir():
        shutil.copytree(world.state / "core", state / "core")
    for ours, theirs in (
        (apart.kubeconfig, world.kubeconfig),
        (apart.talosconfig, world.talosconfig),
        (baseline_file(apart), baseline_file(world)),
        (proofs_folder(apart), proofs_folder(world)),
    ):
        if theirs.exists():
            # Files are replaced, never written into, so the real one stays as it is; secrets are not copied.
            ours.symlink_to(theirs.resolve())
    return apart
