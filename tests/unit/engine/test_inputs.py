"""The files that steps follow from: fail, mend a file, run again is taken or must be accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.engine.graph import Graph
from bootstrap.engine.inputs import Inputs, read_inputs
from bootstrap.engine.journal import FILE
from bootstrap.engine.journal_contents import read
from bootstrap.engine.machine import State
from bootstrap.engine.step import Action, Changes
from bootstrap.engine.verdict import Verdict
from bootstrap.host.errors import ExitCode, InputError
from tests.unit.engine.journals import COMMAND, opened
from tests.unit.engine.world import phase, reading

if TYPE_CHECKING:
    from pathlib import Path

STEPS = {"a/install": ("machines", "cluster.yaml"), "b/release": ("tree",), "b/files": ("tree", "cluster.yaml")}
FILES = {
    "machines/base.yaml": "1",
    "machines/nodes/n1.yaml": "2",
    "cluster.yaml": "3",
    "tree/values.yaml": "4",
    "elsewhere.yaml": "5",
    "machines-of-others/n1.yaml": "6",
}
NAMES = st.sampled_from(sorted(FILES))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    write(made, FILES)
    return made


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def graph() -> Graph:
    steps = [replace(reading(path.partition("/")[2]), inputs=inputs) for path, inputs in STEPS.items()]
    return Graph([phase("a", steps[0]), phase("b", *steps[1:], reading("nothing"))])


def inputs(root: Path) -> Inputs:
    return read_inputs(graph(), root)


def change(changes: Changes) -> Action:
    return Action(description="do it", reason="", run=lambda _ctx: None, recognised_by="", changes=changes)


def verdict(state: State) -> Verdict:
    return Verdict("run", "lab", state, (), (), 1.0, 1.0, 0.0, {})


def one_run(folder: Path, root: Path, begun: dict[str, Changes], *, done: tuple[str, ...] = (), ends: str = "") -> None:
    """A run that begins actions of some steps, brings some to done, and ends in a state or is killed."""
    with opened(folder) as journal:
        journal.follow(inputs(root), accept=True)
        journal.run_begins("run", COMMAND, inputs(root).steps)
        for path, changes in begun.items():
            journal.step_moved(path, State.ACTING, "", 0.0)
            journal.action_begins(path, 1, change(changes))
            journal.action_ended(path, 1, 1.0, "")
        for path in done:
            journal.step_moved(path, State.DONE, "", 1.0)
        if ends:
            journal.run_ended(verdict(State(ends)))


def asked_to_accept(folder: Path, root: Path) -> list[str]:
    """What is refused without the flag; with it, nothing ever is."""
    error: InputError | None = None
    with opened(folder) as journal:
        journal.follow(inputs(root), accept=True)
        try:
            journal.follow(inputs(root), accept=False)
        except InputError as refused:
            error = refused
    if error is None:
        return []
    assert error.exit_code is ExitCode.INVALID
    assert "--accept-changed-plan" in error.remedy
    return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("begun", "done", "ends", "refused"),
    [
        pytest.param({}, (), "failed", False, id="a step that was not begun"),
        pytest.param({"a/install": Changes.MACHINES}, (), "failed", True, id="begun in a run that failed"),
        pytest.param({"a/install": Changes.MACHINES}, (), "aborted", True, id="begun in a run that was stopped"),
        pytest.param({"a/install": Changes.MACHINES}, (), "", True, id="begun in a run that was killed"),
        pytest.param({"a/install": Changes.CLUSTER}, ("a/install",), "failed", True, id="done in a run that failed"),
        pytest.param({"a/install": Changes.CLUSTER}, ("a/install",), "done", False, id="in a run that is done"),
        pytest.param({"a/install": Changes.FILES}, (), "failed", False, id="only our own files were changed"),
        pytest.param({"a/install": Changes.NOTHING}, (), "failed", False, id="nothing was changed"),
        pytest.param({"b/release": Changes.CLUSTER}, (), "failed", False, id="another step was begun"),
    ],
)
def test_changed_inputs_must_be_accepted_where_the_world_was_touched(
    tmp_path: Path, root: Path, begun: dict[str, Changes], done: tuple[str, ...], ends: str, *, refused: bool
) -> None:
    one_run(tmp_path, root, begun, done=done, ends=ends)
    assert asked_to_accept(tmp_path, root) == []
    write(root, {"machines/nodes/n1.yaml": "other"})
    said = ["machines/nodes/n1.yaml: changed since a/install was begun"]
    assert asked_to_accept(tmp_path, root) == (said if refused else [])


@pytest.mark.parametrize(
    ("changed", "removed", "said"),
    [
        ({"elsewhere.yaml": "x", "machines-of-others/n1.yaml": "x"}, "", []),
        ({"machines/.n1.yaml.swp": "x", "machines/base.yaml~": "x"}, "", []),
        ({"machines/nodes/n2.yaml": "x"}, "", ["machines/nodes/n2.yaml: added since a/install was begun"]),
        ({}, "machines/base.yaml", ["machines/base.yaml: removed since a/install was begun"]),
        ({"tree/values.yaml": "x"}, "", ["tree/values.yaml: changed since b/release was begun"]),
        (
            {"tree/values.yaml": "x", "cluster.yaml": "x"},
            "",
            [
                "cluster.yaml: changed since a/install was begun",
                "tree/values.yaml: changed since b/release was begun",
            ],
        ),
    ],
)
def test_every_changed_file_of_a_begun_step_is_named(
    tmp_path: Path, root: Path, changed: dict[str, str], removed: str, said: list[str]
) -> None:
    one_run(tmp_path, root, {"a/install": Changes.MACHINES, "b/release": Changes.CLUSTER}, ends="failed")
    write(root, changed)
    if removed:
        (root / removed).unlink()
    assert asked_to_accept(tmp_path, root) == said


def test_a_file_that_several_steps_follow_from_is_one_problem(tmp_path: Path, root: Path) -> None:
    one_run(tmp_path, root, {"b/files": Changes.CLUSTER, "b/release": Changes.CLUSTER})
    write(root, {"tree/values.yaml": "x"})
    assert asked_to_accept(tmp_path, root) == ["tree/values.yaml: changed since b/release, b/files were begun"]


def test_what_was_accepted_is_what_the_next_run_compares_with(tmp_path: Path, root: Path) -> None:
    one_run(tmp_path, root, {"a/install": Changes.MACHINES}, ends="failed")
    write(root, {"cluster.yaml": "x"})
    one_run(tmp_path, root, {}, ends="failed")
    assert asked_to_accept(tmp_path, root) == []
    write(root, FILES)
    assert asked_to_accept(tmp_path, root) == ["cluster.yaml: changed since a/install was begun"]


def test_a_step_whose_inputs_were_not_named_before_is_taken(tmp_path: Path, root: Path) -> None:
    with opened(tmp_path) as journal:
        journal.run_begins("run", COMMAND, {})
        journal.action_begins("a/install", 1, change(Changes.MACHINES))
    assert asked_to_accept(tmp_path, root) == []


def test_other_virtual_machines_have_begun_nothing(tmp_path: Path, root: Path) -> None:
    one_run(tmp_path, root, {"a/install": Changes.MACHINES}, ends="failed")
    write(root, {"cluster.yaml": "x"})
    opened(tmp_path, life="lab of noon").close()
    assert asked_to_accept(tmp_path, root) == []


def test_changes_are_listed_for_people_begun_or_not(tmp_path: Path, root: Path) -> None:
    one_run(tmp_path, root, {"a/install": Changes.MACHINES}, ends="failed")
    write(root, {"cluster.yaml": "x", "tree/new.yaml": "x"})
    changed = inputs(root).changed(read(tmp_path / FILE, cluster="lab"))
    assert [(one.step, dict(one.files), one.begun) for one in changed] == [
        ("a/install", {"cluster.yaml": "changed"}, "run"),
        ("b/release", {"tree/new.yaml": "added"}, ""),
        ("b/files", {"cluster.yaml": "changed", "tree/new.yaml": "added"}, ""),
    ]


def test_inputs_that_are_not_there_have_no_digest(tmp_path: Path) -> None:
    assert inputs(tmp_path).files == {}
    assert set(inputs(tmp_path).steps) == set(STEPS)


def test_inputs_that_cannot_be_read_are_refused_all_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(InputError) as caught:
        inputs(root)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{name}: Permission denied"
        for name in ("cluster.yaml", "machines/base.yaml", "machines/nodes/n1.yaml", "tree/values.yaml")
    ]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.text(max_size=2)), st.dictionaries(NAMES, st.text(max_size=2)))
def test_a_digest_is_of_names_and_contents_and_of_nothing_else(left: dict[str, str], right: dict[str, str]) -> None:
    def of(files: dict[str, str], path: str) -> dict[str, str]:
        return {
            name: text for name, text in files.items() if any(f"{name}/".startswith(f"{each}/") for each in STEPS[path])
        }

    digests = Inputs(left, STEPS).steps, Inputs(right, STEPS).steps
    for path in STEPS:
        assert (digests[0][path] == digests[1][path]) == (of(left, path) == of(right, path))
