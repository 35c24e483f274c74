"""The readers of one run, chosen by where its streams lead."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.views.github import GitHub, is_github
from bootstrap.views.jsonlines import JsonLines
from bootstrap.views.live import LiveView, wants_live
from bootstrap.views.log import LogFile
from bootstrap.views.plain import PlainLines
from bootstrap.views.report import About, ReportWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from bootstrap.engine.events import Reader
    from bootstrap.host.clock import Clock


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What decides how a run is shown.

    Attributes:
        folder: of the run; gets the log and the reports.
        output: what standard output gets: nothing for `text`, every event for `json`.
        environment: our own.
        mark: `LAB` or `REHEARSAL`; empty for real machines.
        about: see `Chronicle`.
    """

    folder: Path
    output: str
    environment: Mapping[str, str]
    mark: str = ""
    about: Callable[[], About] = About


def attach(stack: ExitStack, wishes: Wishes, clock: Clock) -> list[Reader]:
    """Everything that tells of a run: log, progress, reports, and what a CI system wants to know.

    Reports come before the progress, whose summary a terminal may hold back; annotations come after it.

    Args:
        stack: closes what is open.
        wishes: what decides.
        clock: the run's.

    Raises:
        OSError: the log cannot be made.
    """
    log = wishes.folder / "log.jsonl"
    found: list[Reader] = [stack.enter_context(LogFile(log)), ReportWriter(wishes.folder, wishes.about)]
    if wishes.output == "json":
        found.append(JsonLines(sys.stdout, wishes.about))
    if wants_live(sys.stderr, sys.stdout, wishes.environment, output=wishes.output):
        found.append(stack.enter_context(LiveView(sys.stderr, clock, log=str(log), mark=wishes.mark)))
    else:
        found.append(PlainLines(sys.stderr, log=str(log), mark=wishes.mark))
    if is_github(wishes.environment):
        summary = wishes.environment.get("GITHUB_STEP_SUMMARY")
        found.append(GitHub(sys.stderr, Path(summary) if summary else None, wishes.about))
    return found
