"""Reads a cluster from its inventory file, or says everything that is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.names import nearest
from inventory import agreement, neighbours, rules
from inventory.findings import located
from inventory.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml
    from inventory.findings import Finding
    from inventory.model import Cluster

FOLDER: Final = "inventory"


def names(root: Path) -> tuple[str, ...]:
    """The clusters that the repository below `root` has, sorted."""
    return tuple(sorted(path.stem for path in (root / FOLDER).glob("*.yaml")))


def load(root: Path, name: str) -> Cluster:
    """Read one cluster.

    Args:
        root: the repository.
        name: the cluster's name; its file is `inventory/<name>.yaml`.

    Raises:
        InputError: no such cluster (with the nearest names), broken YAML, anything wrong in the file, or a
            contradiction to another cluster or to the cluster's settings in the tree; every problem is named with
            file, line and column.
    """
    known = names(root)
    if name not in known:
        raise _unknown(name, known, root)
    return _load(root / FOLDER / f"{name}.yaml", root, others=tuple(each for each in known if each != name))


def load_file(path: Path, *, root: Path) -> Cluster:
    """Read the cluster of one file by itself, whatever stands beside it.

    Raises:
        InputError: the file cannot be read, is broken YAML, or anything in it is wrong.
    """
    return _load(path, root, others=None)


def _load(path: Path, root: Path, *, others: tuple[str, ...] | None) -> Cluster:
    # pydantic takes 130 ms to import: only who reads an inventory pays for it.
    from inventory import parsing  # as the line above says

    source = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {source}", (Problem(error.strerror or str(error), source),)) from None
    document = yaml_io.load(text, source=source)
    part, findings = parsing.parse(document)
    findings += rules.check(document, stem=path.stem)
    settings: tuple[Problem, ...] = ()
    if others is not None:
        findings += tuple(_contradictions(document, root, others))
        settings = _settings(document, root, path.stem)
    if part is None or findings or settings:
        raise InputError(f"{source} cannot be used", (*located(findings, text, source), *settings))
    return part.record(source)


def _contradictions(document: Yaml, root: Path, others: tuple[str, ...]) -> Iterator[Finding]:
    view = View(document)
    for other in others:
        source = f"{FOLDER}/{other}.yaml"
        yield from neighbours.check(view, View(_document(root / source)), source)


def _settings(document: Yaml, root: Path, name: str) -> tuple[Problem, ...]:
    path = agreement.path(name)
    settings = _document(root / path)
    if settings is None:
        return ()
    return located(agreement.check(View(document), View(settings)), (root / path).read_bytes(), path)


def _document(path: Path) -> Yaml:
    """What a file says that others answer for; None where it cannot be read."""
    try:
        return yaml_io.load(path.read_bytes(), source=path.name)
    except (OSError, InputError):
        return None


def _unknown(name: str, known: tuple[str, ...], root: Path) -> InputError:
    fact = f'there is no cluster "{name}"' if name else "no cluster is named"
    if not known:
        cause = f"{root / FOLDER} has no file of a cluster"
        return InputError(fact, cause=cause, remedy="name the repository with FIRSTLIGHT_ROOT")
    return InputError(fact, cause=nearest(name, known), remedy=f"give --cluster one of: {', '.join(known)}")
