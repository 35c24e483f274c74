"""The synthetic commit: the worktree as it is, without touching its index, branches or objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner

# Fixed, so that the same tree has the same id in every run.
IDENTITY = {
    "GIT_AUTHOR_NAME": "firstlight", "GIT_AUTHOR_EMAIL": "firstlight@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "firstlight", "GIT_COMMITTER_EMAIL": "firstlight@localhost",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}  # fmt: skip
# Isolates us from the user's own configuration: hooks, signing, templates.
ISOLATED = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}


def commit_worktree(root: Path, bare: Path, ref: str, git: Path, runner: CommandRunner) -> str:
    """Put tracked and unignored files of a worktree into a bare repository as one commit without history.

    Args:
        root: the worktree.
        bare: the repository that is served; made when it is not there.
        ref: the full name of the ref that the commit is put at.
        git: the program.
        runner: runs it.

    Returns:
        The commit's id; the same tree gives the same id.

    Raises:
        InputError: the folder is no Git worktree.
    """
    environment = {**ISOLATED, **IDENTITY}

    def run(*arguments: str, stdin: bytes = b"", extra: dict[str, str] | None = None) -> str:
        # Local work on a small repository; a minute is a stuck disk.
        options = ("-c", "safe.directory=*", *arguments)
        command = Command(git, options, {**environment, **(extra or {})}, stdin=stdin, timeout=60, folder=root)
        return runner.run(command).text

    try:
        names = run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    except CommandError as error:
        problem = Problem(error.cause, remedy="run in a clone of the repository")
        raise InputError(f"{root} is no Git worktree", (problem,)) from None
    if not (bare / "HEAD").exists():
        run("init", "--quiet", "--bare", f"--initial-branch={ref.removeprefix('refs/heads/')}", str(bare))
    own = {"GIT_DIR": str(bare), "GIT_WORK_TREE": str(root), "GIT_INDEX_FILE": str(bare / "firstlight.index")}
    run("read-tree", "--empty", extra=own)
    # A tracked file that was deleted is listed as well and is no part of the worktree.
    present = "\0".join(name for name in names.split("\0") if name and _exists(root / name))
    run("update-index", "--add", "-z", "--stdin", stdin=present.encode(), extra=own)
    tree = run("write-tree", extra=own).strip()
    commit = run("commit-tree", tree, "-m", "The worktree as it was at the start of the run", extra=own).strip()
    run("update-ref", ref, commit, extra=own)
    return commit


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
