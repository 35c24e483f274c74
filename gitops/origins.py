"""Where in the repository an object was written, for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import name_of

if TYPE_CHECKING:
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
        for file in sorted(candidate.rglob("*.y*ml")) if candidate.is_dir() else ():
            found = _position(file, root, item, at)
            if found:
                name = str(file.relative_to(root))
                return Problem(text, name, found.line, found.column, remedy)
    return Problem(text, folder, remedy=remedy)


def text_problem(text: str, needle: str, *, root: Path, folder: str) -> Problem:
    """A problem at the first place below a folder where a text stands."""
    for file in sorted((root / folder).rglob("*.y*ml")):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
            if needle in line:
                return Problem(text, str(file.relative_to(root)), number, line.index(needle) + 1)
    return Problem(text, folder)


def _position(file: Path, root: Path, item: Object, at: tuple[str | int, ...]) -> yaml_io.Position | None:
    try:
        content = file.read_bytes()
        documents = yaml_io.load_all(content, source=str(file.relative_to(root)))
    except (InputError, OSError):
        return None
    for index, document in enumerate(documents):
        if isinstance(document, dict) and (document.get("kind"), name_of(document)) == (
            item.get("kind"),
            name_of(item),
        ):
            positions = yaml_io.positions(content, source=file.name, document=index)
            while at not in positions and at:
                at = at[:-1]
            return positions.get(at)
    return None
