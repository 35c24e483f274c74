"""Which exit code each kind of error gives, from the class, through a run, and at the edge."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import TYPE_CHECKING

import pytest
from invoke import Collection, Context, Exit, task

import bootstrap
import gitops
import inventory
import kube
import phases
import rehearsal
import talos
import tasks
from bootstrap.engine import Conflict
from bootstrap.engine.step import ConflictError
from bootstrap.engine.testing import run_phases
from bootstrap.engine.verdict import Failure
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import (
    ExitCode,
    FirstlightError,
    InputError,
    InterruptedRunError,
    LockedError,
    WaitTimeoutError,
)
from bootstrap.views.usage import CommandLine
from tests.unit.cli.typed import ROOT
from tests.unit.engine.world import phase, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

CODES = [
    (FirstlightError("f"), 1),
    (CommandError("f", cause="it said so", exit_code_seen=77), 1),
    (InputError("f"), 3),
    (ConflictError(Conflict("f")), 3),
    (ConflictError(Conflict("f", exit_code=ExitCode.LOCKED)), 4),
    (LockedError("f"), 4),
    (WaitTimeoutError("f"), 5),
    (InterruptedRunError("f", signal_number=2), 130),
    (InterruptedRunError("f", signal_number=15), 143),
]
BUGS = [ValueError("b"), AssertionError("b"), OSError(28, "b"), RecursionError("b")]
PACKAGES = (bootstrap, gitops, inventory, kube, phases, rehearsal, talos)


def of(error: BaseException) -> str:
    return type(error).__name__


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def subclasses(of_class: type[FirstlightError]) -> Iterator[type[FirstlightError]]:
    for found in of_class.__subclasses__():
        yield found
        yield from subclasses(found)


def at_the_edge(error: BaseException) -> tuple[int, list[str]]:
    """The exit code, and the lines that a person reads."""

    @tasks._edge
    def body(_: Context) -> None:
        raise error

    with pytest.raises(Exit) as caught:
        body(Context())
    return caught.value.code, str(caught.value.message).splitlines()


def test_the_table_that_people_read_is_the_code_s() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| \w", (ROOT / "STYLE.md").read_text(), re.MULTILINE)
    assert [int(code) for row in rows for code in row.split(",")] == [int(code) for code in ExitCode]


@pytest.mark.parametrize(("error", "code"), CODES, ids=of)
def test_an_error_at_the_edge(error: FirstlightError, code: int) -> None:
    found, lines = at_the_edge(error)
    assert found == code
    assert lines[0] == "error: f"


@pytest.mark.parametrize(("error", "code"), CODES, ids=of)
def test_an_error_that_ends_a_step(error: FirstlightError, code: int) -> None:
    def look(_: object) -> str:
        raise error

    verdict = run_phases([phase("p", reading("s", look))])
    # An interrupt is the run's to report; a step that only says so fails nothing.
    expected = 0 if isinstance(error, InterruptedRunError) else code
    assert verdict.exit_code == expected
    assert Failure.of(error).exit_code == code


@pytest.mark.parametrize("bug", BUGS, ids=of)
def test_a_bug_is_one_line_and_1(bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_ROOT", str(tmp_path))
    found, lines = at_the_edge(bug)
    assert found == 1
    assert len(lines) == 1
    assert str(next((tmp_path / ".firstlight" / "errors").iterdir())) in lines[0]


def test_a_bug_that_finds_no_room_for_its_traceback_is_still_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".firstlight").write_text("")
    monkeypatch.setenv("FIRSTLIGHT_ROOT", str(tmp_path))
    found, lines = at_the_edge(OSError(28, "No space left on device", "/a/file"))
    assert (found, len(lines)) == (1, 1)
    assert lines[0].startswith("error: unexpected OSError: No space left on device: /a/file; the traceback cannot be")


def test_no_error_class_has_a_code_of_its_own() -> None:
    assert list(modules())
    assert all(isinstance(each.exit_code, ExitCode) for each in subclasses(FirstlightError))
    assert not [each for each in subclasses(FirstlightError) if each.exit_code in {ExitCode.DONE, ExitCode.CHANGES}]


@pytest.mark.parametrize(("end", "code"), [(Exit(code=2), 2), (Exit(code=143), 143), (KeyboardInterrupt(), 130)])
def test_the_program_passes_a_task_s_code_on(end: BaseException, code: int) -> None:
    @task(name="end")
    def body(_: Context) -> None:
        raise end

    with pytest.raises(SystemExit) as caught:
        CommandLine(Collection(body)).run(["./invoke", "end"])
    assert caught.value.code == code
