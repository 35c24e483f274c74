"""The commit that Flux must reach is what is checked out, committed and pushed; asked of the real Git."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from bootstrap.engine import Conflict, Done
from bootstrap.host.commands import Command, CommandError, ShCommandRunner
from bootstrap.host.errors import ExitCode
from bootstrap.host.secret import Redactor
from phases.preflight import _commit

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from phases.world import World

REF = "refs/heads/main"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A worktree with one commit, which its remote has."""
    work = tmp_path / "work"
    (work / "kubernetes").mkdir(parents=True)
    (work / "kubernetes" / "a.yaml").write_text("a: 1\n")
    (work / "README.md").write_text("text\n")
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    git(work, "init", "--quiet", "--initial-branch=main")
    commit(work)
    return work


def git(folder: Path, *arguments: str) -> str:
    """Run git without a person's own settings."""
    program = Path(str(shutil.which("git")))
    names = {f"GIT_{who}_{what}": "a@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**names, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return ShCommandRunner(Redactor()).run(Command(program, ("-C", str(folder), *arguments), environment)).text.strip()


def commit(work: Path, *, push: bool = True) -> str:
    """Commit everything; gives the id."""
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "x")
    if push:
        git(work, "push", "--quiet", str(work.parent / "remote"), f"HEAD:{REF}")
    return git(work, "rev-parse", "HEAD")


def judged(work: Path, *, program: str = "git") -> object:
    """What the step finds."""
    source = SimpleNamespace(url=str(work.parent / "remote"), ref=REF)
    world = SimpleNamespace(
        root=work, commit="", cluster=SimpleNamespace(git=source), runner=ShCommandRunner(Redactor()),
        programs={program: Path(str(shutil.which("git")))},
    )  # fmt: skip
    return _commit(cast("World", world), cast("Context", None))


def test_what_is_pushed_is_taken_whatever_else_lies_about(repository: Path) -> None:
    (repository / "README.md").write_text("something else\n")
    found = judged(repository)
    assert isinstance(found, Done)
    assert found.value == git(repository, "rev-parse", "HEAD")


def test_files_of_the_cluster_that_are_not_committed_are_named(repository: Path) -> None:
    (repository / "kubernetes" / "a.yaml").write_text("a: 2\n")
    (repository / "kubernetes" / "b.yaml").write_text("b: 1\n")
    found = judged(repository)
    assert isinstance(found, Conflict)
    assert [str(problem) for problem in found.problems] == [
        "kubernetes/a.yaml: not committed (M)", "kubernetes/b.yaml: not committed (??)",
    ]  # fmt: skip


def test_a_commit_that_is_not_pushed_is_refused(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    (repository / "kubernetes" / "a.yaml").write_text("a: 2\n")
    after = commit(repository, push=False)
    found = judged(repository)
    assert isinstance(found, Conflict)
    assert (found.fact, found.cause) == (
        f"{REF} of {repository.parent / 'remote'} is not what is checked out",
        f"it is at {before[:12]}, the worktree is at {after[:12]}",
    )
    assert found.remedy == f"git push {repository.parent / 'remote'} HEAD:{REF}"


def test_a_ref_that_is_not_there_is_refused(repository: Path) -> None:
    git(repository.parent / "remote", "update-ref", "-d", REF)
    found = judged(repository)
    assert isinstance(found, Conflict)
    assert found.cause.startswith("it is at nothing")


def test_without_git_there_is_no_commit(repository: Path) -> None:
    found = judged(repository, program="op")
    assert isinstance(found, Conflict)
    assert found.remedy == "apt-get install git"


def test_a_remote_that_does_not_answer_is_invalid_input(repository: Path) -> None:
    shutil.rmtree(repository.parent / "remote")
    with pytest.raises(CommandError, match="ls-remote") as caught:
        judged(repository)
    assert caught.value.exit_code is ExitCode.INVALID
