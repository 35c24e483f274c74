"""What GitHub Actions shows of a run: annotations at the lines that are wrong, and the report as the step's summary.

Workflow commands go to standard error, because standard output is for data: the runner reads both streams of a step
alike (actions/runner, src/Runner.Worker/Handlers/ScriptHandler.cs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from bootstrap.engine.verdict import Failure
from bootstrap.host.streams import write_line
from bootstrap.views.markdown import markdown
from bootstrap.views.report import About, Chronicle
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bootstrap.engine.events import Stamped
    from bootstrap.host.errors import FirstlightError

# GitHub shows so many errors of a step and drops the rest (actions/toolkit, docs/problem-matchers.md).
MOST_ANNOTATIONS: Final = 10
# Bytes; a longer summary is refused: "supports content up to a size of 1024k" (actions/dependency-review-action 867).
SUMMARY_BYTES: Final = 1024 * 1024
CUT: Final = "\n\nThe report was cut here: a summary holds 1 MiB. All of it is in `report.md` of the run.\n"


def is_github(environment: Mapping[str, str]) -> bool:
    """Whether this is a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotate(failures: Sequence[Failure]) -> list[str]:
    """The worst of what went wrong as workflow commands, in the order in which it happened."""
    found = [command for failure in failures for command in _commands(failure)]
    return found[:MOST_ANNOTATIONS]


def tell(error: FirstlightError, stream: TextIO, environment: Mapping[str, str]) -> None:
    """Annotate an error that no run met."""
    if is_github(environment):
        for command in annotate((Failure.of(error),)):
            write_line(stream, command)


class GitHub:
    """A reader that annotates and summarises when the run ends.

    Args:
        stream: standard error.
        summary: the file that `GITHUB_STEP_SUMMARY` names; None when there is none.
        about: see `Chronicle`.
    """

    def __init__(self, stream: TextIO, summary: Path | None, about: Callable[[], About] = About) -> None:
        self._stream = stream
        self._summary = summary
        self._chronicle = Chronicle(about)

    def read(self, stamped: Stamped) -> None:
        """Keep what the verdict does not hold; write at the end.

        Raises:
            OSError: the summary cannot be written.
        """
        report = self._chronicle.read(stamped)
        if report is None:
            return
        self._stream.write("".join(f"{command}\n" for command in annotate(report.failures)))
        self._stream.flush()
        if self._summary:
            append_summary(self._summary, markdown(report))


def append_summary(path: Path, text: str) -> None:
    """Append to the step's summary what still fits, cut before a heading or, failing that, before a line.

    Raises:
        OSError: it cannot be written.
    """
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
    whole = text.encode()
    if len(whole) > room:
        kept = whole[: max(0, room - len(CUT.encode()))]
        border = max(kept.rfind(b"\n## "), 0) or max(kept.rfind(b"\n"), 0)
        whole = kept[:border] + CUT.encode() if room > len(CUT.encode()) else b""
    with path.open("ab") as file:
        file.write(whole)


def _commands(failure: Failure) -> Iterator[str]:
    """One for each problem at its place, or one for a failure that has none."""
    if not failure.problems:
        yield _command({"title": failure.fact}, failure.cause or failure.fact, failure.remedy)
    for problem in failure.problems:
        place = {"file": problem.path, "line": problem.line or "", "col": problem.column or ""}
        yield _command({**place, "title": failure.fact}, problem.text, problem.remedy or failure.remedy)


def _command(properties: Mapping[str, str | int], said: str, remedy: str) -> str:
    text = f"{one_line(said)}\nnext: {one_line(remedy)}" if remedy else one_line(said)
    given = ",".join(f"{name}={_property(one_line(str(value)))}" for name, value in properties.items() if value)
    return f"::error {given}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
