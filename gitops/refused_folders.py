"""What kustomize says of a folder that it refuses, at the place that it is about."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import text
from gitops.build import KUSTOMIZATION_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

# kustomize 5.7 quotes names and nests quotes, so a name is whatever stands between quotes, blanks and brackets.
_WORD: Final = re.compile(r"[^\s'\"`\[\]:;,()]+")
_UNKNOWN_FIELD: Final = re.compile(r'unknown field "([^"]+)"')


def refused_folder(root: Path, path: str, said: str) -> Problem:
    """The problem at the entry of a kustomization that names what kustomize stumbled over last.

    Args:
        root: the repository.
        path: of the folder that was built, relative to it.
        said: what kustomize said, with paths relative to the folder where they are below it, else to the repository.

    Returns:
        At the kustomization's first line where no entry fits, at the folder where there is no kustomization.
    """
    problem = f"kustomize refuses the folder: {said}"
    entries = [entry for file in _kustomizations(root, path) for entry in _entries(file)]
    if unknown := _UNKNOWN_FIELD.search(said):
        found = next((entry for entry in entries if entry.key == unknown[1]), None)
    else:
        words = dict.fromkeys(reversed(_WORD.findall(said)))
        named = (
            entry
            for word in words
            for entry in entries
            if entry.names in {root / word, Path(os.path.normpath(root / path / word))}
        )
        found = next(named, None)
    found = found or next(iter(entries), None)
    if found is None:
        return Problem(problem, path)
    return Problem(problem, str(found.file.relative_to(root)), found.place.line, found.place.column)


@dataclass(frozen=True)
class _Entry:
    """A value of a kustomization.

    Attributes:
        file: the kustomization.
        key: under which it stands; empty where it is an item of a list, or the whole.
        names: the path that it gives; None where it gives none, as kinds and names do not.
        place: where it stands.
    """

    file: Path
    key: str
    names: Path | None
    place: yaml_io.Position


def _kustomizations(root: Path, path: str) -> Iterator[Path]:
    """The folder's own kustomization first, then those below it, then the others of the tree."""
    seen: set[Path] = set()
    for folder in (root / path, root / Path(path).parts[0]):
        for file in sorted(folder.rglob("*"), key=lambda one: (len(one.parts), one)):
            if file.name in KUSTOMIZATION_FILES and file.is_file() and file not in seen:
                seen.add(file)
                yield file


def _entries(file: Path) -> Iterator[_Entry]:
    """Everything in a kustomization, the whole of it first; of one that cannot be read only that it is there."""
    try:
        content = file.read_bytes()
        document = yaml_io.load(content, source=file.name)
        places = yaml_io.positions(content, source=file.name)
    except (InputError, OSError):
        document, places = None, {}
    yield _Entry(file, "", None, yaml_io.Position(1, 1))
    for at, place in places.items():
        key = at[-1] if at and isinstance(at[-1], str) else ""
        yield _Entry(file, key, _named(text(document, *at), file.parent), place)


def _named(value: str, folder: Path) -> Path | None:
    is_path = value and (any(mark in value for mark in "./") or (folder / value).exists())
    return Path(os.path.normpath(folder / value)) if is_path else None
