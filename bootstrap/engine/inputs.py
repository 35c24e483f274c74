"""The files that each step follows from, as digests, and what changed in them since an earlier run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bootstrap.engine.graph import Graph
    from bootstrap.engine.journal_contents import Contents, Run

# Hexadecimal digits: 128 bits tell any two files apart, and a journal holds many of them.
DIGITS: Final = 32


@dataclass(frozen=True)
class Changed:
    """A step whose inputs are not those of the last run.

    Attributes:
        step: its path.
        files: each file and whether it was `changed`, `added` or `removed`.
        begun: the unfinished run that began the step; empty when none did, so that the files are simply taken.
    """

    step: str
    files: Mapping[str, str]
    begun: str


@dataclass(frozen=True)
class Inputs:
    """What the steps of a run follow from.

    Attributes:
        files: digest by name, relative to the repository.
        declared: the files and folders that each step names, by its path.
    """

    files: Mapping[str, str]
    declared: Mapping[str, tuple[str, ...]]

    @property
    def steps(self) -> dict[str, str]:
        """One digest over names and contents for each step's path."""
        return {path: self._digest(path) for path in self.declared}

    def changed(self, contents: Contents) -> tuple[Changed, ...]:
        """The steps whose inputs differ from those of the last run of a journal."""
        run = contents.last
        if run is None:
            return ()
        now = self.steps
        return tuple(
            Changed(path, self._files_changed(path, run), contents.begun.get(path, ""))
            for path in self.declared
            if run.steps.get(path, now[path]) != now[path]
        )

    def refuse_changes(self, contents: Contents) -> None:
        """Refuse to go on with a step under other inputs than those that it was begun with.

        Raises:
            InputError: inputs changed of steps that an unfinished run has begun; one problem a file.
        """
        changed = [one for one in self.changed(contents) if one.begun]
        if not changed:
            return
        steps: dict[tuple[str, str], list[str]] = {}
        for one in changed:
            for file in one.files.items():
                steps.setdefault(file, []).append(one.step)
        runs = ", ".join(sorted({one.begun for one in changed}))
        raise InputError(
            "files changed that steps of an unfinished run follow from",
            tuple(Problem(f"{how} since {_begun(paths)}", name) for (name, how), paths in sorted(steps.items())),
            cause=f"begun by {runs}",
            remedy="bootstrap with --accept-changed-plan to go on with the files as they are, or put them back",
        )

    def _digest(self, path: str) -> str:
        lines = [f"{name}\0{digest}\n" for name, digest in sorted(self.files.items()) if self._belongs(name, path)]
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:DIGITS]

    def _files_changed(self, path: str, run: Run) -> dict[str, str]:
        names = sorted(name for name in {*self.files, *run.files} if self._belongs(name, path))
        found: dict[str, str] = {}
        for name in names:
            if name not in run.files:
                found[name] = "added"
            elif name not in self.files:
                found[name] = "removed"
            elif self.files[name] != run.files[name]:
                found[name] = "changed"
        return found

    def _belongs(self, name: str, path: str) -> bool:
        return any(name == each or name.startswith(f"{each}/") for each in self.declared[path])


def read_inputs(graph: Graph, root: Path) -> Inputs:
    """Read the inputs of every step that names some; what is not there has no digest.

    Args:
        graph: the steps.
        root: what their inputs are relative to.

    Raises:
        InputError: files cannot be read; all of them.
    """
    declared = {path: node.step.inputs for path, node in graph.nodes.items() if node.step.inputs}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for name in sorted({name for names in declared.values() for name in names}):
        for file in _files(root / name):
            relative = file.relative_to(root).as_posix()
            try:
                files[relative] = hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
            except OSError as error:
                problems.append(Problem(error.strerror or str(error), relative))
    if problems:
        raise InputError("files cannot be read that steps follow from", tuple(problems))
    return Inputs(files, declared)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for file in sorted(place.rglob("*")):
        # What an open editor leaves beside a file is no input.
        if file.is_file() and not file.name.startswith(".") and not file.name.endswith("~"):
            yield file


def _begun(paths: list[str]) -> str:
    return f"{', '.join(paths)} {'was' if len(paths) == 1 else 'were'} begun"
