"""What kustomize says of a folder that it refuses, at the place that it is about."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from gitops.build import KUSTOMIZATION_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

# kustomize 5.7 quotes names and nests quotes, so a name is whatever stands between quotes, blanks and brackets.
_WORD: Final = re.compile(r"[^\s'\"`\[\]:;,()]+")
_UNKNOWN_FIELD: Final = re.compile(r'unknown field "([^"]+)"')


@dataclass(frozen=True)
class Built:
    """What kustomize built.

    Attributes:
        root: the repository.
        path: the folder, relative to it.
    """

    root: Path
    path: str


def refused_folder(built: Built, said: str) -> Problem:
    """The problem at the entry of a kustomization that names what kustomize stumbled over last.

    Args:
        built: the folder.
        said: what kustomize said, with paths relative to the folder where they are below it, else to the repository.

    Returns:
        At the kustomization's first line where no entry fits, at the folder where there is no kustomization.
    """
    text = f"kustomize refuses the folder: {said}"
    files = list(_kustomizations(built))
    unknown = _UNKNOWN_FIELD.search(said)
    words = [unknown[1]] if unknown else list(dict.fromkeys(reversed(_WORD.findall(said))))
    for word in words:
        for file in files:
            if place := _place(file, word, built, is_key=bool(unknown)):
                return Problem(text, str(file.relative_to(built.root)), place.line, place.column)
    if files:
        return Problem(text, str(files[0].relative_to(built.root)), 1, 1)
    return Problem(text, built.path)


def _kustomizations(built: Built) -> Iterator[Path]:
    """The folder's own kustomization first, then those below it, then the others of the tree."""
    seen: set[Path] = set()
    for folder in (built.root / built.path, built.root / Path(built.path).parts[0]):
        for file in sorted(folder.rglob("*"), key=lambda one: (len(one.parts), one)):
            if file.name in KUSTOMIZATION_FILES and file.is_file() and file not in seen:
                seen.add(file)
                yield file


def _place(file: Path, word: str, built: Built, *, is_key: bool) -> yaml_io.Position | None:
    try:
        content = file.read_bytes()
        places = yaml_io.positions(content, source=file.name)
        document = yaml_io.load(content, source=file.name)
    except (InputError, OSError):
        return None
    for path, place in places.items():
        if is_key and path and path[-1] == word:
            return place
        entry = _scalar(document, path)
        if not is_key and entry and _is_named(entry, word, file, built):
            return place
    return None


def _scalar(value: yaml_io.Yaml, path: tuple[str | int, ...]) -> str:
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
    return value if isinstance(value, str) else ""


def _is_named(entry: str, word: str, kustomization: Path, built: Built) -> bool:
    """Whether a word is the path of what an entry names; kinds and names are no paths."""
    if not any(mark in entry for mark in "./") and not (kustomization.parent / entry).exists():
        return False
    named = Path(os.path.normpath(kustomization.parent / entry))
    return named in {Path(os.path.normpath(built.root / built.path / word)), built.root / word}
