"""What GitHub Actions is told."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.testing import run_phases
from bootstrap.engine.verdict import Failure
from bootstrap.host.errors import InputError, Problem
from bootstrap.views.github import CUT, MOST_ANNOTATIONS, SUMMARY_BYTES, GitHub, annotate, append_summary, tell
from tests.unit.engine.world import phase, reading

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine import Context

PROBLEM = Problem("100 % wrong: a,b", "kubernetes/a,b:c.yaml", 7, 3, "push it")


def unescaped(command: str) -> tuple[dict[str, str], str]:
    """A command as GitHub's runner reads it (actions/runner, src/Runner.Common/ActionCommand.cs)."""
    head, _, data = command.removeprefix("::error ").partition("::")
    pairs = (pair.split("=", 1) for pair in head.split(","))
    marks = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}

    def read(text: str) -> str:
        for mark, meant in marks.items():
            text = text.replace(mark, meant)
        return text.replace("%25", "%")

    return {name: read(value) for name, value in pairs}, read(data)


def test_a_problem_is_annotated_at_its_place() -> None:
    (command,) = annotate([Failure("the tree is wrong: 2 of 3", problems=(PROBLEM,))])
    assert "\n" not in command
    assert unescaped(command) == (
        {"file": "kubernetes/a,b:c.yaml", "line": "7", "col": "3", "title": "the tree is wrong: 2 of 3"},
        "100 % wrong: a,b\nnext: push it",
    )


def test_a_failure_without_problems_is_annotated_as_a_whole() -> None:
    (command,) = annotate([Failure("etcd failed", "last seen:\n::stop-commands::x", "invoke lab.up")])
    assert command.count("\n") == 0
    assert unescaped(command) == ({"title": "etcd failed"}, "last seen: ::stop-commands::x\nnext: invoke lab.up")


def test_the_first_of_many_are_told() -> None:
    problems = tuple(Problem(f"problem {number}", "a.yaml", number) for number in range(1, 30))
    commands = annotate([Failure("first", "cause"), Failure("many", problems=problems)])
    assert len(commands) == MOST_ANNOTATIONS
    assert unescaped(commands[0])[1] == "cause"
    assert unescaped(commands[-1])[1] == "problem 9"


@pytest.mark.parametrize(("variable", "count"), [("true", 1), ("", 0), ("false", 0)])
def test_an_error_outside_a_run_is_annotated_on_github_only(variable: str, count: int) -> None:
    stream = io.StringIO()
    tell(InputError("wrong", (PROBLEM,)), stream, {"GITHUB_ACTIONS": variable})
    assert stream.getvalue().count("::error ") == count


def test_the_end_of_a_run_is_annotated_and_summarised(tmp_path: Path) -> None:
    stream, summary = io.StringIO(), tmp_path / "summary.md"
    summary.write_text("before\n")

    def refuse(_ctx: Context) -> str:
        raise InputError("a release cannot be installed", (PROBLEM,), cause="HTTP 404")

    run_phases([phase("core", reading("cilium", refuse))], readers=[GitHub(stream, summary)])
    assert [unescaped(line)[0]["title"] for line in stream.getvalue().splitlines()] == ["a release cannot be installed"]
    text = summary.read_text()
    assert text.startswith("before\n# lab: failed, exit code 3\n")
    assert "| core/cilium | failed |" in text


def test_a_run_without_failures_has_no_annotation_and_needs_no_summary() -> None:
    stream = io.StringIO()
    run_phases([phase("core", reading("cilium"))], readers=[GitHub(stream, None)])
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (0, "# a\n\n## b\n|row|"),
        (SUMMARY_BYTES - len(CUT) - 10, "# a\n"),
        (SUMMARY_BYTES - len(CUT) - 5, "# a\n"),
        (SUMMARY_BYTES - len(CUT), ""),
        (SUMMARY_BYTES, ""),
        (SUMMARY_BYTES + 1, ""),
    ],
)
def test_a_summary_is_cut_at_a_clean_border(tmp_path: Path, before: int, kept: str) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * before)
    whole = "# a\n\n## b\n|row|" + "\n|row|" * 40
    append_summary(path, whole)
    added = path.read_bytes()[before:].decode()
    if before == 0:
        assert added == whole
    else:
        assert added in {kept + CUT, ""}
        assert added.startswith(kept)
        assert len(added) + before <= max(before, SUMMARY_BYTES)


def test_a_summary_of_one_section_is_cut_before_a_line(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    append_summary(path, "|row é|\n" * 200_000)
    text = path.read_text()
    assert len(text.encode()) <= SUMMARY_BYTES
    assert text.removesuffix(CUT).splitlines()[-1] == "|row é|"
    assert text.endswith(CUT)
