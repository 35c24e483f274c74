"""Reads a cluster from its inventory file, or says everything that is wrong with it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from inventory import rules

if TYPE_CHECKING:
    from pathlib import Path

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
        InputError: no such cluster (with the nearest names), broken YAML, or anything wrong in the file;
            every problem is named with file, line and column.
    """
    known = names(root)
    if name not in known:
        raise _unknown(name, known)
    return load_file(root / FOLDER / f"{name}.yaml", root=root)


def load_file(path: Path, *, root: Path) -> Cluster:
    """Read the cluster of one file; `load` is this by name."""
    # pydantic takes 130 ms to import: only who reads an inventory pays for it.
    from inventory import schema  # as the line above says

    source = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {source}", (Problem(error.strerror or str(error), source),)) from None
    document = yaml_io.load(text, source=source)
    part, findings = schema.parse(document)
    findings += rules.check(document, stem=path.stem)
    if part is None or findings:
        raise InputError(f"{source} cannot be used", _problems(findings, text, source))
    return part.record(source)


def _unknown(name: str, known: tuple[str, ...]) -> InputError:
    nearest = difflib.get_close_matches(name, known, n=3)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(known) or 'none'}"
    return InputError(
        f'there is no cluster "{name}"' if name else "no cluster is named",
        cause=hint,
        remedy="give --cluster one of: " + (", ".join(known) or "none"),
    )


def _problems(findings: tuple[rules.Finding, ...], text: bytes, source: str) -> tuple[Problem, ...]:
    places = yaml_io.positions(text, source=source)
    problems = [_problem(finding, places, source) for finding in findings]
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column, problem.text)))


def _problem(finding: rules.Finding, places: dict[tuple[str | int, ...], yaml_io.Position], source: str) -> Problem:
    location = finding.location
    while location and location not in places:
        location = location[:-1]
    place = places.get(location)
    return Problem(finding.text, source, place.line if place else 0, place.column if place else 0)
