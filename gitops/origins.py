"""Where in the repository an object was written, for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object


def problem(
    text: str, *, root: Path, folder: str, item: Object, at: tuple[str | int, ...] = (), remedy: str = ""
) -> Problem:
    """A problem at the place where an object, or a field of it, stands.

    Args:
        text: what is wrong.
        root: the repository.
        folder: where to look first, relative to the root; the object may come from a folder that this one names.
        item: the object.
        at: path of the field; its nearest parent that is in the file is taken.
        remedy: what resolves it.
    """
    for candidate in (root / folder, root / "kubernetes"):
        written = list(_written(candidate, root)) if candidate.is_dir() else []
        for became in (_is_same, _is_moved, _is_renamed):
            for file, index, document in written:
                if became(document, item) and (found := _position(file, index, at)):
                    return Problem(text, str(file.relative_to(root)), found.line, found.column, remedy)
    return Problem(text, folder, remedy=remedy)


def text_problem(text: str, needle: str, *, root: Path, folder: str) -> Problem:
    """A problem at the first place below a folder where a text stands."""
    for file in sorted((root / folder).rglob("*.y*ml")):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
            if needle in line:
                return Problem(text, str(file.relative_to(root)), number, line.index(needle) + 1)
    return Problem(text, folder)


def _written(folder: Path, root: Path) -> Iterator[tuple[Path, int, Object]]:
    """Every object below a folder, with its file and its place there."""
    for file in sorted(folder.rglob("*.y*ml")):
        try:
            documents = yaml_io.load_all(file.read_bytes(), source=str(file.relative_to(root)))
        except (InputError, OSError):
            continue
        yield from ((file, index, one) for index, one in enumerate(documents) if isinstance(one, dict))


def _is_same(document: Object, item: Object) -> bool:
    return _is_moved(document, item) and namespace_of(document) == namespace_of(item)


def _is_moved(document: Object, item: Object) -> bool:
    """As a target namespace makes it."""
    return document.get("kind") == item.get("kind") and name_of(document) == name_of(item)


def _is_renamed(document: Object, item: Object) -> bool:
    """As a prefix, a suffix or the digest of generated content makes it."""
    name = name_of(document)
    return document.get("kind") == item.get("kind") and name != "" and name in name_of(item)


def _position(file: Path, index: int, at: tuple[str | int, ...]) -> yaml_io.Position | None:
    positions = yaml_io.positions(file.read_bytes(), source=file.name, document=index)
    while at not in positions and at:
        at = at[:-1]
    return positions.get(at)
